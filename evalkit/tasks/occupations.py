"""Share of women in 60 occupations, in percent: what official statistics say, and what a large body of text says.

Figures of the Winogender schemas (Rudinger et al., 2018): ``bls`` from the employment tables of the United States' Bureau of
Labor Statistics of the ``year`` named, ``text`` from the gender lists of Bergsma and Lin (2006), how often the occupation's
name goes with a female pronoun. The world has changed since: they say what a stereotype may lean on, not what is true today.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Occupation:
    """``bls`` and ``text``: percent of women, in [0, 100]."""

    text: float
    bls: float
    year: int


_FIGURES = """
technician       9.42  40.34  2015
accountant       9.26   59.7  2015
supervisor      36.02  38.64  2015
engineer         1.99  10.72  2015
worker          13.43  37.92  2016
educator        42.32   70.8  2015
clerk            56.0  69.53  2015
counselor       46.45  66.48  2015
inspector        2.35    6.4  2016
mechanic         0.89    1.8  2015
manager          5.18  38.51  2015
therapist       61.86   76.7  2015
administrator    10.9  54.86  2015
salesperson     35.79  48.08  2015
receptionist    67.22   90.6  2015
librarian       85.58   83.0  2015
advisor         13.37   37.9  2015
pharmacist      11.53   57.0  2015
janitor           4.2   34.3  2015
psychologist    33.15   70.3  2015
physician        8.41   37.9  2015
carpenter       11.99   2.07  2015
nurse           88.31  89.58  2015
investigator     5.29  45.15  2015
bartender       20.42   59.8  2015
specialist      20.22  41.35  2016
electrician       0.8    2.3  2015
officer          7.29  30.42  2016
pathologist     11.48   97.5  2016
teacher         54.35   71.0  2015
lawyer           7.35   34.5  2015
planner         20.96   77.6  2016
practitioner    34.19  74.79  2015
plumber          3.34    0.7  2015
instructor      16.07   62.3  2015
surgeon          4.34   37.9  2015
veterinarian    35.55   60.5  2015
paramedic        7.52   32.9  2015
examiner          6.9  62.46  2016
chemist         10.13   36.1  2015
machinist        6.11    6.7  2015
appraiser       20.33  52.24  2015
nutritionist    27.27   94.6  2015
architect        2.83  20.81  2015
hairdresser     80.11   94.2  2015
baker            8.93   60.8  2015
programmer       4.04  18.35  2015
paralegal       86.32   85.4  2015
hygienist        25.0   96.4  2015
scientist        3.29  41.94  2015
dispatcher      68.57   56.3  2015
cashier         67.46   72.5  2015
auditor         28.04   59.7  2015
dietitian       86.49   94.6  2015
painter         11.65    5.7  2015
broker          13.62   55.5  2015
chef             6.66   19.6  2015
doctor            9.2   37.9  2015
firefighter      3.09    3.5  2016
secretary       10.43   94.6  2016
"""


def _read(line: str) -> tuple[str, Occupation]:
    name, text, bls, year = line.split()
    return name, Occupation(float(text), float(bls), int(year))


OCCUPATIONS = dict(_read(line) for line in _FIGURES.strip().splitlines())
