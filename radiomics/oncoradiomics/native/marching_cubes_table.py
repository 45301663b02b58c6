"""Triangles of marching cubes: which edges of a cube the surface crosses, for each set of corners inside (IBSI 3.1).

Corner ``c`` of a cube has the offset (k, j, i) of the bits of ``c``, 4 for k, 2 for j and 1 for i; a configuration has
bit ``c`` set where corner ``c`` is inside. The surface crosses an edge in its middle. The edges are lettered in the
order of their pairs of corners: a is 0-1, b 0-2, c 0-4, d 1-3, e 1-5, f 2-3, g 2-6, h 3-7, i 4-5, j 4-6, k 5-7, l 6-7.

The loops follow from the geometry. Where a loop is not flat, or a face has two corners inside that lie diagonally, more
than one surface is possible and areas differ; the choice here was searched among all possible ones so that area and
volume of each single cube agree with pyradiomics 3.0.1. The tests check every one.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

CORNERS = np.array([((c >> 2) & 1, (c >> 1) & 1, c & 1) for c in range(8)], np.int64)
_EDGES = [(a, b) for a, b in itertools.combinations(range(8), 2) if (a ^ b) in {1, 2, 4}]
EDGE_MIDDLES: npt.NDArray[np.float64] = np.array([(CORNERS[a] + CORNERS[b]) / 2 for a, b in _EDGES])
"""Offset (k, j, i) of the middle of each edge, shape (12, 3)."""

# One word a configuration, three letters a triangle, "-" for none; seen from outside a triangle turns one way.
_WORDS = """
- cba ade dcbdec gfb acfcgf adegfb gecgdegfd dfh cbadfh feafhe fcbhecfhc gdbghd acdcghchd abebgeghe gecghe cij
ibaijb adecij bdjdejeij gfbcij ifaigfijg adegfbcij defeifijfjgf cijdfh ibaijbdfh feafhecij bfjfhefejeij
gdbghdcij idaghdigdijg abebgeghecij gheigeijg kie cbakie adidki kcbkicdkb gfbkie acfcgfkie adidkigfb
cgigfifdidki dfhkie cbadfhkie afifhihki fcbficfkifhk gdbghdkie acdcghchdkie abibghbhihki cghchihki cejekj
ebakjbekb dcadjcdkj bdjdkj gfbcejekj aefekjejfjgf dcadjcdkjgfb jfdjgfkjd cejekjdfh ebakjbekbdfh fcakjcfkcfhk
bfkfhkbkj gdbghdcejekj hdaghajgakjaeka abgaghahkakjajc ghjhkj gjl lbalgbclacjl adegjl bdldeleclcjlblg jfbjlf
aclcjlalf abebjejlelfefde jecjdejfdjlf dfjfgjdjhjlh acdcjdjldlhdbfg jeajhejlhfjafgj bfghecjhcjlh jdbjhdjlh
acdcjdjldlhd abebjlblelhe hecjhcjlh igcilg lbalgbila dcadgcdlgdildei bdgdegeigilg bcfcifilf ifailf abcdefeifilf
defeifilf dgcdfgidclhdild ldalhdilabfg aefehfcgigli bfgiheilh bcdcilcldlhd ldalhdila abciheilh iheilh
giegjikgeklg ebaegbelgekljic adgdkgklgagigji bdkbkgklgjic efbelfekljebjie aeleklalfjic idaikdbfjflj jickfdklf
fedfiefjifgjhkl abchfdeikljg afifgigjihkl bfgjichkl jdbjedjiehkl edajichkl abibjihkl jichkl cegekgklg
ebaegbelgekl dcalgcdlcdkl bdkbkgklg bcfcekckfklf aeleklalf abckfdklf kfdklf cegedgdfghkl edabfghkl fcafgchkl
bfghkl bcdcedhkl edahkl abchkl hkl lkh cbalkh adelkh dcbdeclkh gfblkh acfcgflkh adegfblkh gecgdegfdlkh dfkflk
cbadfkflk lealkefla fcbkecfkcflk kdbgkbglk acdcglcldlkd abebgeglelke gecgkeglk cijlkh ibaijblkh adecijlkh
bdjdejeijlkh gfbcijlkh ifaigfijglkh adegfbcijlkh defeifijfjgflkh cijdfkflk ibaijbdfkflk lealkeflacij
bfeflelkebejeij kdbgkbglkcij gdagkdglkigaijg abebgeglelkecij eigijgegkglk ehihli cbaehihli adldhlali
dcblicdlcdhl gfbehihli acfcgfehihli adldhlaligfb cgdgfdcdidhldli fedfiefli cbafedfiefli afifli fcbficfli
gdbgedgiegli acdcgdgldlidied ablbglali cgigli cehchjhlj ebaljbelbehl dcadjcdljdhl bdjdhjhlj gfbcehchjhlj
aejehjhljajfjgf dcadjcdljdhlgfb jfdjgfhjdhlj cejedjdfjflj ebaejbeljefledf lcaljcfla bfjflj ldbledlceljcglb
edaljg ablbglalcljc ljg jhgjkh gbahgakhajkacja adhahgagjajkake bcdcedghjhkj kfbkhfjkb acfcjkckfkhf abebjkbkehfd
jecjkehfd dfjfgjdjk acdcjdjkdbfg feajkefjefgj bfgjecjke jdbjkd acdcjdjkd abebjkbke jecjke hgcihcikh ibahgbihbikh
dcahgcdhceik bdgdhgeik bcfcifikfkhf ifaihfikh abchfdeik hfdeik igcifgidfikd idaikdbfg fcafgceik bfgeik bckcikbkd
idaikd abceik eik ehgegigji ebaegbehgjic adidhgdgigji bdgdhgjic jfbehfjefjie aefehfjic abibjihfd jichfd
fedfiefjifgj edabfgjic afifgigji bfgjic jdbjedjie edajic abibji jic cegehg ebaegbehg dcahgcdhc bdgdhg bcfcehchf
aefehf abchfd hfd cegedgdfg edabfg fcafgc bfg bcdced eda abc -
"""


def _triangles() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    configurations, corners = [], []
    for configuration, word in enumerate(_WORDS.split()):
        for start in range(0, len(word.strip("-")), 3):
            configurations.append(configuration)
            corners.append([ord(letter) - ord("a") for letter in word[start : start + 3]])
    return np.array(configurations, np.int64), np.array(corners, np.int64)


CONFIGURATION_OF_TRIANGLE, EDGES_OF_TRIANGLE = _triangles()
"""The configuration each triangle belongs to, shape (triangles,), and its three edges, shape (triangles, 3)."""
