"""A faithful OpenAI Realtime server (GA) without a model, to be talked to by tests, demonstrations and load runs.

    python -m simulator --port 8765 --answer echo

In the process of a test:

    async with simulator.server.running(Options(speed=0)) as server:
        server.base_url                             for an SDK; server.url for a WebSocket
        server.sessions[0].recording.utterances     the audio that was committed, as it was heard

The way of the voice through the files:

    server        the sockets; `connect` decides who may come in
    session       one client: what follows from what
    listening     appended audio ─▶ turns, by `audio_buffer` and `vad`
    answers       an utterance ─▶ what is said to it
    speaking      responses under way; a `response` is made of `outputs`, and of pauses
    orders        what must follow what, as a table that tests run; `script` is its language
"""
