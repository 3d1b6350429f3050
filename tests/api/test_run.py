"""A run through the door: from a config to training, answers, pictures and the report."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_runs import tiny_config

import annotator3d as a3d


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run over two rounds, and its result."""
    from kitti_scans import make_kitti_in

    folder = tmp_path_factory.mktemp("run")
    root = make_kitti_in(folder)(sequences=("00", "01", "02"), scans=2)
    config = tiny_config(root, schedule={"epochs": 2}, active={"rounds_at": [0, 1]})
    run = a3d.Run.from_config(config, folder / "al")
    return run, run.train()


def test_training_gives_the_result_of_the_run(trained):
    run, result = trained
    assert isinstance(result, a3d.RunResult) and 0 <= result.miou <= 100
    assert set(result.iou_per_class) == set(run.pool.taxonomy.names)
    assert [entry["round"] for entry in result.rounds] == [1, 2]
    assert result.rounds[-1]["miou"] == result.miou
    with run.ledger() as ledger:
        assert result.rounds[-1]["voxels"] == len(ledger.queries()) == 2 * 4
        with pytest.raises(ValueError, match="only"):
            ledger.note(1, "x", annotator="anna")


def test_a_run_is_opened_by_its_folder_alone(trained):
    run, result = trained
    again = a3d.Run.open(run.work_dir)
    assert again.config == run.config and again.train(resume=True) == result
    assert again.pool.ids == run.pool.ids
    found = again.evaluate()
    assert isinstance(found, a3d.Evaluation) and found.miou == pytest.approx(result.miou)
    assert found.confusion.shape == (19, 20)
    assert again.report().read_text(encoding="utf-8").strip().startswith("<!DOCTYPE html>")
    assert again.report(run.work_dir / "other.html").name == "other.html"


def test_a_scan_is_read_by_position_or_by_id(trained):
    pool = trained[0].pool
    scan = pool[0]
    assert isinstance(scan, a3d.Scan) and scan.id == pool.ids[0] and len(pool) == 4
    assert np.array_equal(pool[scan.id].xyz, scan.xyz) and pool[-1].id == pool.ids[-1]
    assert [each.id for each in pool] == pool.ids
    with pytest.raises(IndexError, match="scan 4 of a dataset of 4 scans"):
        pool[4]
    with pytest.raises(ValueError, match="there is no scan 'x'"):
        pool["x"]


def test_the_network_predicts_scans_and_a_strategy_takes_its_logits(trained):
    run, _ = trained
    model, scan = run.model(), run.val[0]
    logits = model.predict_logits(scan)
    assert logits.shape == (len(scan), 19) and logits.dtype == np.float32
    assert np.array_equal(model.predict(scan), logits.argmax(1))
    assert model.class_names == run.val.taxonomy.names
    assert len(a3d.VoxelEntropy(voxel_size=4.0).query(scan.xyz, logits, batch_size=3)) == 3
    untrained = a3d.init_model(run.config, device="cpu")
    again = a3d.init_model(run.config, device="cpu")
    assert np.array_equal(untrained.predict_logits(scan), again.predict_logits(scan))
    assert not np.array_equal(untrained.predict_logits(scan), logits)


def test_pictures_are_png_and_show_themselves_in_a_notebook(trained, tmp_path):
    run, _ = trained
    scan = run.pool[0]
    with run.ledger() as ledger:
        queries = ledger.queries(scan=scan.id)
    picture = a3d.plot_scan(scan, queries, voxel_size=4.0)
    assert picture.png == picture._repr_png_() and picture.png.startswith(b"\x89PNG")
    assert picture.save(tmp_path / "scan.png").read_bytes() == picture.png
    by_class = a3d.plot_scan(scan, values=scan.labels, taxonomy=run.pool.taxonomy)
    by_value = a3d.plot_scan(scan.xyz, values=scan.intensity)
    bare = a3d.plot_scan(scan, voxel_size=4.0)  # no voxels are marked
    assert len({picture.png, bare.png, by_class.png, by_value.png}) == 4
    with pytest.raises(ValueError, match=r"values: expected \[200\]"):
        a3d.plot_scan(scan, values=scan.intensity[:-1])
    with pytest.raises(ValueError, match="train ids need a taxonomy"):
        a3d.plot_scan(scan, values=scan.labels)
    with pytest.raises(ValueError, match=r"scan: expected points \[N, 3\], got \[200, 2\]"):
        a3d.plot_scan(scan.xyz[:, :2])


def test_runs_are_compared_round_by_round(trained):
    run, result = trained
    rows = a3d.compare_runs([run.work_dir])
    assert [row["round"] for row in rows] == [1, 2] and rows[-1]["miou"] == result.miou
    assert {row["strategy"] for row in rows} == {"vcd"}
    assert a3d.plot_budget_curves([run.work_dir]).png.startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="are both al vcd with seed 0"):
        a3d.compare_runs([run.work_dir, run.work_dir])


def test_a_person_answers_in_a_session_and_training_goes_on(tmp_path, make_kitti):
    root = make_kitti(sequences=("00", "01", "02"), scans=1)
    config = tiny_config(
        root, schedule={"epochs": 1}, active={"rounds_at": [0], "oracle": "person"}
    )
    run = a3d.Run.from_config(config, tmp_path / "al")
    with pytest.raises(a3d.WaitingForOracleError, match="round 1: 2 of 2 voxels wait"):
        run.train()
    with run.session(annotator="anna") as session:
        while session.current:
            session.assign("road" if session.progress.open > 1 else 3)
    with run.ledger() as ledger:
        answers = [answer for _, answer in ledger.responses()]
    assert {answer.annotator for answer in answers} == {"anna"}
    road = run.pool.taxonomy.names.index("road")
    assert sorted({int(label) for a in answers for label in a.labels}) == sorted({3, road})
    assert run.train(resume=True).rounds[0]["voxels"] == 2


def test_a_session_refuses_a_class_that_the_list_lacks(tmp_path, make_kitti):
    root = make_kitti(sequences=("00", "01"), scans=1)
    config = tiny_config(root, active={"strategy": "random", "oracle": "person"})
    run = a3d.Run.from_config(config, tmp_path / "al")
    found = run.select()
    assert isinstance(found, a3d.RoundResult) and found.voxels == 2
    with a3d.open_session(tmp_path / "al", annotator="anna") as session:
        with pytest.raises(ValueError, match="unknown class 'raod'.*did you mean 'road'"):
            session.assign("raod")
        assert session.progress.open == 2


def test_a_round_is_selected_by_a_network_of_ones_own(tmp_path, make_kitti):
    root = make_kitti(sequences=("00", "01"), scans=2)
    run = a3d.Run.from_config(tiny_config(root), tmp_path / "mine")
    random = np.random.default_rng(0)
    for scan_id in run.pool.ids:
        path = tmp_path / "logits" / f"{scan_id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, random.normal(size=(200, 19)).astype(np.float32))
    assert run.select(predictions=tmp_path / "logits").scans == 4
    with pytest.raises(a3d.ConfigError, match="either --checkpoint or --predictions"):
        run.select(predictions="a", checkpoint="b")


def test_configs_are_read_by_name_with_options_over_them(tmp_path):
    config = a3d.Config.fromfile(
        "al/streets_demo", {"active.strategy": "entropy", "seed": 4, "active.max_range": None}
    )
    assert isinstance(config, a3d.RunConfig)
    assert (config.active.strategy, config.seed, config.active.max_range) == ("entropy", 4, None)
    run = a3d.Run.from_config("al/streets_demo", tmp_path, cfg_options={"seed": 5})
    assert run.config.seed == 5 and list(tmp_path.iterdir()) == []
    numbers = {"active.queries_per_scan": np.int64(3), "active.voxel_size": np.float32(0.5)}
    numbers["active.rounds_at"] = np.array([0, 2])
    active = a3d.Config.fromfile("al/streets_demo", numbers).active
    assert (active.queries_per_scan, active.voxel_size, active.rounds_at) == (3, 0.5, [0, 2])
    with pytest.raises(a3d.ConfigError, match="did you mean 'strategy'"):
        a3d.Config.fromfile("al/streets_demo", {"active.strategi": "vcd"})
    with pytest.raises(a3d.ConfigError, match="did you mean 'al/streets_demo'"):
        a3d.Run.from_config("al/street_demo", tmp_path)
    with pytest.raises(a3d.ConfigError, match="cfg_options go with the name of a config"):
        a3d.Run.from_config(config, tmp_path, cfg_options={"seed": 5})


def test_what_is_not_there_is_named(tmp_path, make_kitti):
    with pytest.raises(FileNotFoundError, match="no work directory .*gone"):
        a3d.Run.open(tmp_path / "gone")
    with pytest.raises(a3d.ConfigError, match="holds no config.yaml; .*Run.from_config"):
        a3d.Run.open(tmp_path)
    with pytest.raises(FileNotFoundError, match="gone"):
        a3d.open_session(tmp_path / "gone")
    run = a3d.Run.from_config(tiny_config(make_kitti(("00", "01", "02"))), tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no ledger"):
        run.ledger()
    with pytest.raises(FileNotFoundError, match="holds no whole checkpoint"):
        run.model()
    with pytest.raises(FileNotFoundError, match="run.json"):
        run.report()
    with pytest.raises(FileNotFoundError, match="no checkpoint x.pth"):
        a3d.init_model(run.config, "x.pth")
    with pytest.raises(a3d.ConfigError, match="device: expected auto, cpu or cuda, got 'gpu'"):
        a3d.init_model(run.config, device="gpu")
    config = tiny_config(make_kitti(("00", "01", "02"), name="b"), data={"source": None})
    with pytest.raises(a3d.ConfigError, match="data.source"):
        _ = a3d.Run.from_config(config, tmp_path).source


def test_datasets_are_opened_by_name(make_kitti, tmp_path):
    root = make_kitti(sequences=("00", "01"), scans=2)
    dataset = a3d.open_dataset("SemanticKITTI", root, sequences=["00"])
    assert isinstance(dataset, a3d.SemanticKITTI) and len(dataset) == 2
    assert isinstance(dataset, a3d.ScanDataset)
    with pytest.raises(a3d.ConfigError, match="did you mean 'SemanticKITTI'"):
        a3d.open_dataset("SemanticKITI", root)
    with pytest.raises(FileNotFoundError):
        a3d.open_dataset("SemanticKITTI", tmp_path / "gone", sequences=["00"])
    made = a3d.SimulatedStreets("ideal", 1, 1, beams=16, azimuths=90, root=tmp_path / "streets")
    assert len(made[0]) > 100


def test_a_picture_of_a_query_is_rendered_without_a_window(trained, tmp_path):
    out = a3d.render(trained[0].work_dir, tmp_path / "query.png", view="above", size=(320, 200))
    assert out.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FileNotFoundError, match="gone"):
        a3d.render(tmp_path / "gone", out)
    with pytest.raises(ValueError, match="background: expected dark or light, got 'grey'"):
        a3d.render(trained[0].work_dir, out, background="grey")
    with pytest.raises(ValueError, match="size: expected width and height in pixels"):
        a3d.render(trained[0].work_dir, out, size=(0, 3))


def test_people_are_compared(trained, tmp_path):
    run, _ = trained
    with run.ledger() as ledger:
        nobody = a3d.agreement(ledger)
        assert nobody["voxels"] == 0 and nobody["same"] is None and nobody["pairs"] == {}
        assert a3d.cohen_kappa(ledger) is None
    pick = a3d.VoxelPick((0, 0, 0), 0.0, 4, np.arange(4))
    taxonomy = run.pool.taxonomy
    with a3d.Ledger.create(tmp_path / "ledger.sqlite", taxonomy) as ledger:
        ledger.register_scan("00/000000", "f", 9)
        (query,) = ledger.add_round(1, "random", 0, 1, {"00/000000": [pick]})
        ledger.answer(query.id, np.uint8([0, 0, 1, 1]), annotator="anna")
        ledger.request(query.id, "overlap", annotator="anna")
        ledger.answer(query.id, np.uint8([0, 0, 1, 2]), annotator="ben")
        found = a3d.agreement(ledger)
        assert found["voxels"] == 1 and found["points"] == 4 and found["same"] == 0.75
        assert found["kappa"] == a3d.cohen_kappa(ledger) == pytest.approx(1 - 0.25 / 0.625)
        assert list(found["pairs"]) == [("anna", "ben")]
    with pytest.raises(FileExistsError, match="exists"):
        a3d.Ledger.create(tmp_path / "ledger.sqlite", taxonomy)
