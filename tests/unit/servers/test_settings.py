"""Settings: three sources, one order, nothing misspelt goes unnoticed."""

from pathlib import Path

import pytest
from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.settings import Service, load_settings, split_addresses


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.setenv("ONCORESPONSE_SETTINGS_FILE", "")


def test_command_line_wins_over_environment_and_environment_over_file(tmp_path: Path, monkeypatch):
    file = tmp_path / "settings.yaml"
    file.write_text("listen: 127.0.0.1:1\nexecutor_id: from-file\nassessment_workers: 3\n")
    monkeypatch.setenv("ONCORESPONSE_LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("ONCORESPONSE_EXECUTOR_ID", "from-environment")
    settings = load_settings(file, listen="127.0.0.1:3", device=None)
    assert (settings.listen, settings.executor_id, settings.assessment_workers, settings.device) == (
        "127.0.0.1:3",
        "from-environment",
        3,
        "auto",
    )


def test_services_are_a_comma_separated_list(monkeypatch):
    assert load_settings(services="study, model").services == (Service.STUDY, Service.MODEL)
    monkeypatch.setenv("ONCORESPONSE_SERVICES", "segmentation")
    assert load_settings().services == (Service.SEGMENTATION,)
    with pytest.raises(ConfigurationError, match="services"):
        load_settings(services="study,oracle")


def test_the_earlier_name_of_services_is_still_read_with_a_warning_that_names_the_new_one(
    tmp_path, monkeypatch, caplog
):
    file = tmp_path / "settings.yaml"
    file.write_text("roles: study\n")
    assert load_settings(file).services == (Service.STUDY,)
    assert "the setting roles is called services now" in caplog.text
    monkeypatch.setenv("ONCORESPONSE_ROLES", "segmentation, model")
    assert load_settings(file).services == (Service.SEGMENTATION, Service.MODEL)
    assert load_settings(file, services="study").services == (Service.STUDY,)
    file.write_text("roles: study\nservices: model\n")
    with pytest.raises(ConfigurationError, match="Set services alone"):
        load_settings(file)


def test_unknown_key_in_the_file_is_refused(tmp_path: Path):
    file = tmp_path / "settings.yaml"
    file.write_text("lisen: 127.0.0.1:1\n")
    with pytest.raises(ConfigurationError, match="lisen"):
        load_settings(file)


def test_unknown_environment_variable_is_refused(monkeypatch):
    monkeypatch.setenv("ONCORESPONSE_LISEN", "127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="ONCORESPONSE_LISEN"):
        load_settings()


@pytest.mark.parametrize("address", ["0.0.0.0:50051", "10.1.2.3:50051", "[::]:50051"])
def test_patient_data_is_not_offered_in_the_clear_to_a_network(address):
    with pytest.raises(ConfigurationError, match="unencrypted"):
        load_settings(listen=address).require_safe_listening()
    load_settings(listen=address, allow_insecure_network=True).require_safe_listening()


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", ":50051", "localhost:port", "localhost:70000"])
def test_address_that_is_none_is_called_that(address):
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        load_settings(listen=address)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "[::1]:0"])
def test_loopback_needs_no_certificate(address):
    load_settings(listen=address).require_safe_listening()


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:15"])
def test_devices(device):
    assert load_settings(device=device).device == device


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:all", "CUDA", "cuda:0,1"])
def test_other_devices_are_refused(device):
    with pytest.raises(ConfigurationError, match="device"):
        load_settings(device=device)


def test_one_role_may_have_several_addresses(tmp_path: Path):
    file = tmp_path / "settings.yaml"
    file.write_text("addresses:\n  segmentation: gpu-1:50051, gpu-2:50051\n")
    assert split_addresses(load_settings(file).addresses[Service.SEGMENTATION]) == ["gpu-1:50051", "gpu-2:50051"]
    for wrong in ("gpu-1:50051,", "gpu-1", "gpu-1:50051;gpu-2:50051:x"):
        file.write_text(f"addresses:\n  segmentation: {wrong}\n")
        with pytest.raises(ConfigurationError, match="HOST:PORT"):
            load_settings(file)


def test_a_relative_data_folder_is_that_of_the_start(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    settings = load_settings(data_directory="data", models_directory="~/models", import_directories="studies")
    assert settings.data_directory == tmp_path / "data"
    assert settings.models_directory == tmp_path / "home" / "models"
    assert settings.import_directories == (tmp_path / "studies",)
    assert settings.data_directory.as_uri().startswith("file:///")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("https://pacs/dicom-web", ("https://pacs/dicom-web",)),
        ("https://a/rs, https://b/rs", ("https://a/rs", "https://b/rs")),
        ('["https://a/rs", "https://b/rs"]', ("https://a/rs", "https://b/rs")),
        ("", ()),
    ],
)
def test_a_list_may_be_one_item_several_or_json(written, expected, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ONCORESPONSE_DICOMWEB_URLS", written)
    assert load_settings().dicomweb_urls == expected
    monkeypatch.delenv("ONCORESPONSE_DICOMWEB_URLS")
    file = tmp_path / "settings.yaml"
    file.write_text(f"dicomweb_urls: {written!r}\nimport_directories: /srv/dicom\nservices: study\n")
    settings = load_settings(file)
    assert (settings.dicomweb_urls, settings.services) == (expected, (Service.STUDY,))
    assert settings.import_directories == (Path("/srv/dicom"),)


def test_addresses_may_be_lists_and_one_address_is_that_of_all_other_services(tmp_path: Path, monkeypatch):
    file = tmp_path / "settings.yaml"
    file.write_text("addresses:\n  segmentation: [gpu-1:50051, gpu-2:50051]\n")
    assert load_settings(file).addresses[Service.SEGMENTATION] == "gpu-1:50051,gpu-2:50051"
    monkeypatch.setenv("ONCORESPONSE_ADDRESSES", '{"study": "one:1"}')
    assert load_settings().addresses == {Service.STUDY: "one:1"}
    for address in ("stages:50051", "[::1]:50051"):
        monkeypatch.setenv("ONCORESPONSE_ADDRESSES", address)
        others = load_settings(services="assessment,study").addresses
        assert others == {service: address for service in Service if service not in (Service.ASSESSMENT, Service.STUDY)}


def test_a_variable_that_is_no_map_is_an_error_of_ours_without_its_value(monkeypatch):
    monkeypatch.setenv("ONCORESPONSE_ADDRESSES", '{"study": secret')
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "secret" not in caught.value.message


def test_assessments_without_the_services_they_need_are_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="segmentation, radiomics, response, reporting"):
        load_settings(services="study,assessment,model").require_complete_services()
    load_settings(services="study").require_complete_services()
    load_settings().require_complete_services()
    load_settings(services="assessment", addresses="stages:50051").require_complete_services()
    with pytest.raises(ConfigurationError, match="at least one service"):
        load_settings(services="")


def test_a_process_shows_other_services_its_client_certificate_where_it_has_one(make_authority):
    authority = make_authority("hospital")
    server, client = authority.issue("localhost"), authority.issue("localhost", usage="client")
    pair = {"tls_certificate": server[0], "tls_key": server[1], "tls_authority": authority.file}
    assert load_settings(**pair).caller_tls.certificate == server[0]
    settings = load_settings(**pair, tls_client_certificate=client[0], tls_client_key=client[1])
    assert (settings.caller_tls.certificate, settings.caller_tls.key) == client
    settings.require_safe_listening()
    with pytest.raises(ConfigurationError, match="not that of the certificate"):
        load_settings(**{**pair, "tls_key": client[1]}).require_safe_listening()
