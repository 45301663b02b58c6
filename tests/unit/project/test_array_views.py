"""SimpleITK's array view does not keep its image alive, so an image without a name is read after it was freed."""

import ast
from pathlib import Path

PROJECT = Path(__file__).parents[3]


def views_of_images_without_a_name(source):
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "GetArrayViewFromImage"
        and any(isinstance(inside, ast.Call) for argument in node.args for inside in ast.walk(argument))
    ]


def test_a_view_of_an_image_without_a_name_is_found():
    assert views_of_images_without_a_name("a = sitk.GetArrayViewFromImage(reader.Execute()).max()") == [1]
    assert views_of_images_without_a_name("a = sitk.GetArrayViewFromImage(mask.image).max()") == []


def test_no_array_view_outlives_its_image():
    for folder in ("services", "radiomics", "benchmarks", "fuzz", "examples"):
        for path in (PROJECT / folder).rglob("*.py"):
            assert views_of_images_without_a_name(path.read_text(encoding="utf-8")) == [], path
