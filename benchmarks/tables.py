"""Tables as Markdown, padded so that they read well on a terminal too."""

from .sections.section import Table


def markdown(table: Table) -> str:
    """The table under its caption."""
    rows = [tuple(table.headings), *map(tuple, table.rows)]
    columns = range(len(table.headings))
    widths = [max(3, *(len(row[column]) for row in rows)) for column in columns]
    lines = [
        "| "
        + " | ".join(
            row[column].ljust(widths[column])
            if column < table.text_columns
            else row[column].rjust(widths[column])
            for column in columns
        )
        + " |"
        for row in rows
    ]
    rule = [
        "-" * widths[column] if column < table.text_columns else "-" * (widths[column] - 1) + ":"
        for column in columns
    ]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    caption = f"{table.caption}:\n\n" if table.caption else ""
    return caption + "\n".join(lines) + "\n"
