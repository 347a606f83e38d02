"""Keys: one slot a session, one name space for all doors."""

from __future__ import annotations

from streams import keys


def test_all_keys_of_a_session_share_its_hash_tag() -> None:
    """Redis Cluster keeps them in one slot."""
    session = keys.SessionKeys("5f")
    assert all(key.startswith("parley:{5f}:") for key in session.all)
    assert len(set(session.all)) == len(session.all)


def test_the_index_cannot_be_confused() -> None:
    """A user or conversation with colons or braces in it names no other one's session, and steers no slot."""
    assert keys.at("a:b", "c") != keys.at("a", "b:c")
    assert "{" not in keys.at("{x}", "y")


def test_limits_cannot_be_confused() -> None:
    """An address is no user, and who has braces in a name steers no slot."""
    assert keys.limit("connections", "user", "::1") != keys.limit("connections", "address", "::1")
    assert "{" not in keys.limit("sessions", "user", "{x}")


def test_session_ids_are_random() -> None:
    """128 bits."""
    sid = keys.new_sid()
    assert len(bytes.fromhex(sid)) == 16
    assert sid != keys.new_sid()


def test_marks_belong_to_the_streams_session() -> None:
    """Whatever the stream."""
    session = keys.SessionKeys("5f")
    assert {keys.marks_of(stream) for stream in (*session.streams, *session.all_plays)} == {session.marks}


def test_no_play_stream_is_forgotten() -> None:
    """Each is renewed and removed with its session."""
    session = keys.SessionKeys("5f")
    assert {session.play(codec) for codec in keys.PLAY_CODECS} == set(session.all_plays) <= set(session.all)
    assert "parley:{5f}:play:pcm16_16000" in session.all_plays
