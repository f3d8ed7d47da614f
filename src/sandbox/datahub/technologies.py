"""Technologies: labels for pairs of technology and fuel code, in the shape of AIB's codes."""

_FUELS = {
    "Solar": ("F01040100", "F01040200"),
    "Wind": ("F01050100",),
    "Hydro": ("F01050200",),
    "Marine": ("F01050300",),
    "Biomass": ("F01010100", "F01010200", "F01010301"),
    "Biogas": ("F01030100", "F01030200"),
    "Waste": ("F01020100", "F02010100"),
    "Coal": ("F02020100", "F02020200"),
    "Oil": ("F02030100", "F02030200"),
    "Naturalgas": ("F02040100", "F02040200"),
    "Nuclear": ("F03010100", "F03010200"),
}
_THERMAL = ("T050000", "T050100", "T050200")
_TECHNOLOGIES = {
    "Solar": ("T010000", "T010100", "T010200"),
    "Wind": ("T020000", "T020001", "T020002"),
    "Hydro": ("T030000", "T030100", "T030200"),
    "Marine": ("T040000", "T040100"),
    "Nuclear": ("T060000", "T060100"),
}

TECHNOLOGIES = [
    {"technology": label, "technologyCode": technology, "fuelCode": fuel}
    for label, fuels in _FUELS.items()
    for technology in _TECHNOLOGIES.get(label, _THERMAL)
    for fuel in fuels
]
"""The pairs that `/technologies` lists, each once. The labels are those of contract: domain."""
