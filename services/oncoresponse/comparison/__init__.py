"""Did it work? Later measurements of a patient against earlier ones, by published criteria.

Every criterion is a function of plain data: no image, no DICOM, no service. What only a person can say (the organ,
whether a lesion is a node, the contrast phase, whether a non-target lesion grew unequivocally) is an argument; where it
is absent the answer is ``NOT_EVALUABLE`` with the sentence why. Every answer is a proposal (``proposed`` is true) that
becomes something else only when a physician confirms it. Lengths in mm, volumes in ml, attenuation in HU, SUL in g/ml,
times in days.

============================  =========================================================================================
module                        source
============================  =========================================================================================
:mod:`.recist`                RECIST 1.1: Eisenhauer et al., Eur J Cancer 2009;45:228, doi:10.1016/j.ejca.2008.10.026,
                              measurability, targets, nodes, response at a time point, best overall response
:mod:`.irecist`               iRECIST: Seymour et al., Lancet Oncol 2017;18:e143, doi:10.1016/S1470-2045(17)30074-8,
                              tables 2 and 3
:mod:`.percist`               PERCIST 1.0: Wahl et al., J Nucl Med 2009;50(Suppl 1):122S, doi:10.2967/jnumed.108.057307
:mod:`.lean_body_mass`        James, Research on Obesity, 1976; Janmahasatian et al., Clin Pharmacokinet 2005;44:1051
:mod:`.choi`                  Choi et al., J Clin Oncol 2007;25:1753, doi:10.1200/JCO.2006.07.3049
:mod:`.volume_response`       Therasse et al., J Natl Cancer Inst 2000;92:205 (diameter, product, volume)
:mod:`.change_uncertainty`    Zhao et al., Radiology 2009;252:263, doi:10.1148/radiol.2522081593 (same-day repeat CT)
:mod:`.growth`                Stein et al., Oncologist 2008;13:1046; Claret et al., J Clin Oncol 2009;27:4103
:mod:`.forecast`              validated here, docs/follow-up.md
============================  =========================================================================================
"""
