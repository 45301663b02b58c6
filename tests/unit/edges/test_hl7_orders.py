"""What HL7 messages ask for, as senders of several versions write them."""

from __future__ import annotations

import random

import pytest
from oncoresponse.edges.orders.hl7_orders import Asked, Hl7Reading, MessageRefused, asked_of, decoded, header_of

ORM = (
    "MSH|^~\\&|EPIC|NORTH|ONCO|HERE|202611271200||ORM^O01|17|P|2.3\r"
    "PID|1||123^^^NORTH&1.2.3&ISO^MR~99^^^SSN^SS||Doe^Jane||19500102000000|F\r"
    "ORC|NW|P1^EPIC|F1^RIS\r"
    "OBR|1|P1^EPIC|F1^RIS|RTX^Therapy^L^71250^CT chest^C4||||||||||||||ACC-1\r"
)
OML = (
    "MSH#!~\\&#EPIC#NORTH#ONCO#HERE#202611271200##OML!O21!OML_O21#18#P#2.5.1######UNICODE UTF-8\r"
    "PID#1##123!!!&9.8.7&ISO!MR##Müller##19500102#M\r"
    "ORC#NW#P2\rOBR#1#P2##RTX!Therapy!L\rIPC#ACC-2#1#1.2.3\r"
    "ORC#CA#P3\rOBR#1#P3##RTX!Therapy!L\rIPC#ACC-3#1#1.2.4\r"
)


def asked(text: str, encoding: str = "utf-8", **reading: object) -> Asked:
    message = decoded(text.encode(encoding))
    return asked_of(message, header_of(message), Hl7Reading(**reading))


def test_an_order_of_version_2_3():
    (order,) = asked(ORM).orders
    assert (order.source, order.order_number, order.accession_number) == ("hl7:EPIC|NORTH", "P1^EPIC", "ACC-1")
    assert (order.patient_id, order.issuer_of_patient_id) == ("123", "NORTH")
    assert (order.birth_date, order.sex, list(order.codes)) == ("19500102", "F", ["RTX", "71250"])


def test_orders_of_version_2_5_with_separators_of_their_own_and_a_cancellation():
    """The assigning authority has a universal ID alone; each ORC is an order of its own."""
    found = asked(OML, issuers={"9.8.7": "NINE"})
    (order,), (gone,) = found.orders, found.cancelled
    assert (order.order_number, order.accession_number, order.issuer_of_patient_id) == ("P2", "ACC-2", "NINE")
    assert (gone.order_number, gone.accession_number) == ("P3", "ACC-3")


@pytest.mark.parametrize(
    ("field", "text", "wanted"),
    [
        ("OBR-3", ORM, "F1"),
        ("ORC-2", ORM, "P1"),
        ("", ORM.replace("|ACC-1", "|A\\T\\B\\F\\C"), "A&B|C"),
    ],
)
def test_where_the_accession_number_is(field, text, wanted):
    (order,) = asked(text, accession_field=field).orders
    assert order.accession_number == wanted


@pytest.mark.parametrize(
    ("name", "encoding"), [("8859/1", "latin-1"), ("8859/2", "iso8859-2"), ("UNICODE UTF-8", "utf-8"), ("", "utf-8")]
)
def test_character_sets(name, encoding):
    text = ORM.replace("|2.3\r", f"|2.3||||||{name}\r").replace("RTX^", "Öß^")
    (order,) = asked(text, encoding).orders
    assert order.codes[0] == "Öß"


@pytest.mark.parametrize(
    ("changed", "code", "where"),
    [
        (ORM.replace("|2.3\r", "|2.3||||||ISO IR87\r"), "103", "MSH^1^18"),
        (ORM.replace("|2.3\r", "|2.3||||||ASCII\r").replace("Doe", "Dö"), "102", "MSH^1^18"),
        (ORM.replace("^MR", "^PI").replace("^SS", "^PI"), "101", "PID^1^3"),
        (ORM.replace("SSN^SS", "SOUTH^MR"), "101", "PID^1^3"),
        (ORM.replace("123^", '""^'), "101", "PID^1^3"),
        (ORM.replace("|P1^EPIC", "|"), "101", "ORC^1^2"),
        (ORM.replace("|ACC-1", "|"), "101", "OBR^1^18"),
        (ORM.replace("|NW|", "|XX|"), "103", "ORC^1^1"),
        (ORM.replace("ORM^O01", "ORM^O99"), "201", "MSH^1^9^1^2"),
        (ORM.replace("ORM^O01", "SIU^S12"), "200", "MSH^1^9^1^1"),
        (ORM.replace("|17|", "||"), "101", "MSH^1^10"),
        ("", "100", "MSH"),
        ("PID|1\r", "100", "MSH"),
    ],
    ids=range(13),
)
def test_what_is_refused(changed, code, where):
    with pytest.raises(MessageRefused) as caught:
        asked(changed)
    assert (caught.value.code, caught.value.where) == (code, where)
    assert "Doe" not in caught.value.what and "123" not in caught.value.what


def test_a_merge_names_both():
    text = ORM.replace("ORM^O01", "ADT^A40").split("ORC|")[0] + "MRG|77^^^NORTH^MR\r"
    ((given_up, kept),) = asked(text).merges
    assert (given_up.patient_id, kept.patient_id) == ("77", "123")


def test_mutated_messages_are_read_or_refused():
    """Nothing else comes of them, whatever bytes there are."""
    rng = random.Random(7)  # noqa: S311
    for seed in (ORM, OML):
        for _ in range(1500):
            data = bytearray(seed.encode())
            for _ in range(rng.randint(1, 8)):
                place = rng.randrange(len(data))
                data[place : place + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
            try:
                message = decoded(bytes(data))
                asked_of(message, header_of(message), Hl7Reading())
            except MessageRefused:
                continue
