"""PhysioNet 2012: who dies in hospital, told by 48 hours of irregular measurements in intensive care.

The 4,000 patients of set a, 41 parameters at the minutes at which they were measured (averaged where one was
measured twice in a minute); 554 of the patients die, so the metric is the area under the ROC curve. A fifth
is for test, a fifth of the rest for validation (Rubanova et al. 2019 split 80 to 20 in the order in which
their disk listed the files; here the files are sorted). Weight, height, age and sex that are -1 were not
known, and count as not measured.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks.draws import order
from creditbench.tasks.files import DataFile, fetch, find_folder
from creditbench.tasks.padding import padded

URL = "https://physionet.org/files/challenge-2012/1.0.0/"
OUTCOMES = DataFile(
    "PhysioNet2012/Outcomes-a.txt",
    f"{URL}Outcomes-a.txt",
    "sha256:2613ea60ccda29f87571a7d6b09ad130858a8ccd66325bd073365925026883c2",
)
# Over the lines of all records in the order of their numbers, whatever their line ends.
SHA256 = "6f0b1ffca63cf4d80d2abf86c99c211c31a0882fe7a1c2a74244b869f631e9ae"
PARAMETERS = (
    "Age", "Gender", "Height", "ICUType", "Weight", "Albumin", "ALP", "ALT", "AST", "Bilirubin", "BUN",
    "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS", "Glucose", "HCO3", "HCT", "HR", "K", "Lactate",
    "Mg", "MAP", "MechVent", "Na", "NIDiasABP", "NIMAP", "NISysABP", "PaCO2", "PaO2", "pH", "Platelets",
    "RespRate",
    "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT", "Urine", "WBC",
)  # fmt: skip
COLUMN = {name: number for number, name in enumerate(PARAMETERS, 1)}
MEAN = (
    64.288, 0.57137, 169.62, 2.7676, 83.734, 2.9433, 112.19, 355.02, 470.05, 2.9243, 27.282, 155.89, 1.4769,
    59.505, 0.54316, 11.395, 141.68, 23.178, 30.643, 87.44, 4.1269, 3.01, 2.0232, 80.04, 0.0, 139.23, 58.252,
    76.949, 118.62, 40.563, 150.02, 7.3916, 190.55, 19.711, 96.648, 119.14, 37.031, 7.1919, 1.2453, 119.42,
    12.624,
)  # fmt: skip
DEVIATION = (
    17.611,
    0.49488,
    20.944,
    1.0056,
    25.125,
    0.65481,
    100.85,
    1098.8,
    1367.6,
    5.8956,
    23.112,
    44.395,
    1.5315,
    13.515,
    0.18996,
    3.9626,
    69.141,
    4.6853,
    5.0254,
    18.411,
    0.71165,
    2.6714,
    0.40737,
    17.264,
    1.0,
    5.177,
    15.482,
    15.638,
    23.266,
    9.2192,
    88.554,
    1.6132,
    107.73,
    5.5221,
    3.5209,
    25.339,
    1.4089,
    9.5529,
    2.902,
    175.28,
    7.6157,
)  # fmt: skip  (mechanical ventilation is 1 wherever it is told, and stays so)
UNKNOWN = ("Age", "Gender", "Height", "Weight")  # where -1 says so
MOST_STEPS, TEST, VALIDATION = 203, 800, 640


def parse_record(text: str, where: Path | str) -> list[list[float]]:
    """Rows (time [h], the 41 parameters, NaN where not measured) of one patient's file."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "Time,Parameter,Value":
        raise CreditbenchError(f"{where} is no record of PhysioNet 2012: it begins with '{text[:40]}'.")
    found: dict[int, dict[str, list[float]]] = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            moment, parameter, value = line.split(",")
            hours, minutes = moment.split(":")
            measured, minute = float(value), 60 * int(hours) + int(minutes)
        except ValueError as error:
            raise CreditbenchError(f"{where}, line {number}: '{line[:60]}' is no measurement.") from error
        own = found.setdefault(minute, {})
        if parameter in COLUMN and not (parameter in UNKNOWN and measured == -1):
            own.setdefault(parameter, []).append(measured)
        elif parameter not in COLUMN and parameter not in ("RecordID", ""):
            raise CreditbenchError(f"{where}, line {number}: '{parameter}' is no parameter of the challenge.")
    return [
        [minute / 60, *(sum(own[n]) / len(own[n]) if n in own else float("nan") for n in PARAMETERS)]
        for minute, own in sorted(found.items())
    ]


def parse_outcomes(text: str, where: Path | str) -> dict[str, int]:
    """Record number -> 1 where the patient died in hospital."""
    lines = [line.split(",") for line in text.splitlines()]
    if not lines or lines[0] != "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death".split(","):
        raise CreditbenchError(f"{where} is no table of outcomes of PhysioNet 2012; replace it.")
    return {line[0]: int(line[5]) for line in lines[1:]}


def read() -> Splits:
    """The splits, by the patients' numbers."""
    path, folder = fetch(OUTCOMES), find_folder("PhysioNet2012/set-a", f"{URL}set-a.tar.gz")
    outcomes = parse_outcomes(path.read_text(encoding="utf-8"), path)
    records, digest = [], hashlib.sha256()
    for number in sorted(outcomes):
        record = folder / f"{number}.txt"
        if not record.is_file():
            raise CreditbenchError(f"{folder} lacks {number}.txt; unpack {URL}set-a.tar.gz there.")
        text = record.read_text(encoding="utf-8")
        digest.update("\n".join(text.split()).encode())
        records.append(parse_record(text, record))
    if digest.hexdigest() != SHA256:
        raise CreditbenchError(f"The files in {folder} are not those of {URL}set-a.tar.gz; replace them.")
    inputs = padded(records, MOST_STEPS)
    targets = torch.tensor([outcomes[number] for number in sorted(outcomes)])
    numbers = torch.tensor(order("physionet-2012", len(records)))
    parts = numbers[TEST + VALIDATION :], numbers[TEST : TEST + VALIDATION], numbers[:TEST]
    return Splits(*(Split(inputs[own], targets[own]) for own in parts))


PHYSIONET_2012 = Task(
    name="physionet-2012",
    version=1,
    kind="series",
    input_shape=(203, 42),
    classes=2,
    read=read,
    metric="auc",
    offset=(0.0, *MEAN),  # of the training split, where measured
    scale=(48.0, *DEVIATION),
    target_score=0.75,
    summary="Death in hospital after 48 hours of irregular measurements; area under the ROC curve.",
    licence="ODC-By 1.0",
    source="Silva, Moody, Scott, Celi and Mark (2012), Predicting in-hospital mortality of ICU patients,"
    " Computing in Cardiology 39; PhysioNet",
)
