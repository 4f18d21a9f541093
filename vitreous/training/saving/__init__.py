"""Work is never lost: checkpoints, and the proof that a resumed run equals an uninterrupted one."""
