"""PURE. What the model is asked in words of ours, in front of or beside what its persona says."""

GREET = "Greet the user now, in one short sentence, in character."

GO_ON = (
    "You were in the middle of your last answer when the line broke. The user has heard it exactly as far as it is written"
    " above. Say only what is missing, beginning with the very next word, as if nothing had happened: do not repeat, greet,"
    " apologise or mention it."
)
