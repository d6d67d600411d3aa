"""Searching items: the stored text and the pattern, folded here so that every database agrees on case."""


def search_text(sku: str, name: str) -> str:
    """What the column `search` of an item holds."""
    return f"{sku} {name}".casefold()


def like_pattern(q: str) -> str:
    """A pattern for LIKE ... ESCAPE '\\' that finds `q` anywhere, its own wildcards taken literally."""
    folded = q.casefold().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{folded}%"
