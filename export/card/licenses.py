"""License of a dataset as a whole. Owns the identifiers of the Hub, and the license fields of cards."""

from __future__ import annotations

from collections.abc import Mapping

UNKNOWN = "unknown"

# https://huggingface.co/docs/hub/repositories-licenses, those for models only left out
_IDENTIFIERS = """
afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc
cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0
cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 ecl-2.0 epl-1.0 epl-2.0 etalab-2.0
eupl-1.1 eupl-1.2 gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr lppl-1.3c mit mpl-2.0 ms-pl
ncsa odbl odc-by ofl-1.1 osl-3.0 pddl postgresql unlicense wtfpl zlib
"""
HUB_IDENTIFIERS = frozenset(_IDENTIFIERS.split())


def card_license(licenses: Mapping[str, int], license_file: str) -> dict[str, str]:
    """Return the license fields of a card; identifiers of the Hub match in any case.

    For a license that the Hub does not know, or for several, they name the file that lists the licenses.
    """
    spelt = ((name, name.strip().lower()) for name in licenses)
    names = list(dict.fromkeys(lower if lower in HUB_IDENTIFIERS else name for name, lower in spelt)) or [UNKNOWN]
    if len(names) == 1 and (names[0] in HUB_IDENTIFIERS or names[0] == UNKNOWN):
        return {"license": names[0]}
    name = " ".join(names[0].split()) if len(names) == 1 else "mixed"
    return {"license": "other", "license_name": name, "license_link": license_file}


def license_text(licenses: Mapping[str, int]) -> str:
    """Return the license file of a dataset whose images have several licenses, or an uncommon one."""
    lines = [f"{count:>10,}  {' '.join(name.split())}" for name, count in licenses.items()]
    return (
        "The images of this dataset keep the licenses under which they were found. The column source.license names\n"
        f'the license of each record; "{UNKNOWN}" means that the source states none: ask before you use the image.\n'
        "\n   records  license\n" + "".join(f"{line}\n" for line in lines)
    )
