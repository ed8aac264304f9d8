"""All sections, in the order in which they are measured and shown."""

from typing import Final

from . import cost
from .section import Section

SECTIONS: Final[tuple[Section, ...]] = (cost.SECTION,)
BY_NAME: Final = {section.name: section for section in SECTIONS}
