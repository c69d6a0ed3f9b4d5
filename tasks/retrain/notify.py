"""Who is told how a retraining ended: a notification block of Prefect's."""

from __future__ import annotations

import logging

from models.text.safe import shorten

log = logging.getLogger("nestor.retrain")


def send_notification(block: str | None, subject: str, body: str) -> str:
    """Has the block (`type/name`, such as `slack-webhook/team`) tell it. What went wrong, in a sentence: a notice that
    fails is a warning and never a failure. Empty where all went well, or nobody is to be told."""
    if block is None:
        return ""
    # Prefect takes seconds to import, and few retrainings tell anybody.
    from prefect.blocks.core import Block

    try:
        notifier = Block.load(block)
        if not hasattr(notifier, "notify"):
            raise TypeError(f"a block of the type {type(notifier).__name__} can't notify")
        with notifier.raise_on_failure():  # pyright: ignore[reportAttributeAccessIssue]
            notifier.notify(body=body, subject=subject)  # pyright: ignore[reportAttributeAccessIssue]
    except Exception as error:
        sentence = f"Nobody was told: the block {block} failed ({shorten(error, 200)})."
        log.warning(sentence, exc_info=error)
        return sentence
    return ""
