"""XML of annotation tools. Owns the limits of what is parsed: no entities of a document's own, no external ones."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring


def parse_xml(data: bytes) -> Element:
    """Parse a document.

    Raises:
        ValueError: it is not XML, or defines entities, with which a few bytes can become gigabytes.

    """
    found: Element = fromstring(data)
    return found
