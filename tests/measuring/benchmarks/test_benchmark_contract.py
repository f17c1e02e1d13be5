"""Every benchmark reads the layouts in which it is published: label, set, generator, source and split of each picture."""

import os
import sys

import pytest
from toy import write_manifest
from trees import fill

from realgrain.learning.data import ManifestError, read_manifest
from realgrain.measuring import benchmarks
from realgrain.measuring.benchmarks import NAMES, aigibench, benchmark
from realgrain.measuring.benchmarks.check import check
from realgrain.measuring.benchmarks.manifest import write_manifest as write_benchmark
from realgrain.measuring.benchmarks.walk import BenchmarkError, label_of
from realgrain.measuring.resampling import clusters_by

OF_FILES = [name for name in NAMES if name not in {"csv", "webdataset", "huggingface"}]
LAYOUTS = [(name, layout) for name in OF_FILES for layout in benchmark(name).layout]
FIELDS = ("label", "set", "generator", "source", "split")

# Written by hand from what was published, not from the code: path -> its samples' fields.
EXPECTED = {
    "genimage": {
        "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/val/ai/0.png": [
            ("fake", "stable_diffusion_v_1_4", "stable_diffusion_v_1_4", "stable_diffusion_v_1_4", "test")
        ],
        "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/train/nature/n0.JPEG": [("real", "stable_diffusion_v_1_4", "", "imagenet", "train")],
        "Stable Diffusion V1.5/val/nature/n0.JPEG": [("real", "stable_diffusion_v_1_5", "", "imagenet", "test")],
        "imagenet_ai_0508_adm/val/ai/0.PNG": [("fake", "ADM", "ADM", "ADM", "test")],
        "GLIDE/train/ai/0.png": [("fake", "glide", "glide", "glide", "train")],
        "test/wukong/0_real/0.jpg": [("real", "wukong", "", "imagenet", "test")],
        "GenImage/test/BigGAN/1_fake/0.png": [("fake", "BigGAN", "BigGAN", "BigGAN", "test")],
        "VQDM/1_fake/0.png": [("fake", "VQDM", "VQDM", "VQDM", "test")],
        "flux/val/ai/0.png": [],
        "ADM/imagenet_glide/val/ai/0.png": [],
        "ADM/val/ai/deeper/0.png": [],
        "val/ai/0.png": [],
    },
    "aigcdetect": {
        "progan/car/0_real/0.png": [("real", "progan", "", "lsun", "test")],
        "test/Glide/1_fake/0.png": [("fake", "Glide", "Glide", "Glide", "test")],
        "ADM/0_real/0.png": [("real", "ADM", "", "imagenet", "test")],
        "DALLE2/0_real/0.png": [("real", "DALLE2", "", "unstated:DALLE2", "test")],
        "sdxl/1_fake/0.png": [("fake", "SDXL", "SDXL", "SDXL", "test")],
        "crn/1_fake/0.png": [],
    },
    "universalfakedetect": {
        "test/progan/airplane/1_fake/0.png": [("fake", "progan", "progan", "progan", "test")],
        "datasets/test/seeingdark/0_real/0.png": [("real", "seeingdark", "", "sitd-raw", "test")],
        "diffusion_datasets/imagenet/0_real/0.jpg": [("real", "guided", "", "imagenet", "test")],
        "diffusion_datasets/dalle/1_fake/0.png": [("fake", "dalle", "dalle", "dalle", "test")],
        "diffusion_datasets/laion/0_real/0.jpg": [
            ("real", name, "", "laion", "test")
            for name in ("dalle", "glide_100_10", "glide_100_27", "glide_50_27", "ldm_100", "ldm_200", "ldm_200_cfg")
        ],
        "diffusion_datasets/laion/1_fake/0.jpg": [],
        "test/whichfaceisreal/0_real/0.jpg": [],
    },
    "universalfakedetect-8": {
        "dalle/0_real/0.png": [("real", "dalle", "", "laion", "test")],
        "UniversalFakeDetect/guided/0_real/0.png": [("real", "guided", "", "imagenet", "test")],
        "ldm_200_cfg/1_fake/0.png": [("fake", "ldm_200_cfg", "ldm_200_cfg", "ldm_200_cfg", "test")],
        "test/progan/car/1_fake/0.png": [],
    },
    "forensynths": {
        "test/cyclegan/horse/0_real/0.png": [("real", "cyclegan", "", "cyclegan-domains", "test")],
        "test/gaugan/1_fake/0.png": [("fake", "gaugan", "gaugan", "gaugan", "test")],
        "train/progan/sofa/0_real/0.png": [("real", "progan", "", "lsun", "train")],
        "val/progan/sofa/1_fake/0.png": [("fake", "progan", "progan", "progan", "val")],
        "whichfaceisreal/0_real/0.jpg": [("real", "whichfaceisreal", "", "ffhq", "test")],
    },
    "aigibench": {
        "test/StyleGAN-XL/0_real/0.png": [("real", "StyleGAN-XL", "", "unstated:StyleGAN-XL", "test")],
        "test/Midjourney-V6/1_fake/0.png": [("fake", "Midjourney", "Midjourney", "Midjourney", "test")],
        "test/ImSwap/1_fake/0.png": [("fake", "InSwap", "InSwap", "InSwap", "test")],
        "test/CommunityAI/1_fake/0.png": [("fake", "CommunityAI", "unknown:CommunityAI", "CommunityAI", "test")],
        "jpeg/WFIR/0_real/0.jpg": [("real", "WFIR", "", "ffhq", "jpeg")],
        "sample/E4S/1_fake/0.png": [("fake", "E4S", "E4S", "E4S", "sample")],
        "train/car/1_fake/0.png": [("fake", "car", "ProGAN", "ProGAN", "train")],
        "val/sdv1.4/0_real/0.png": [("real", "sdv1.4", "", "imagenet", "val")],
        "train/sdv1.4/1_fake/0.png": [("fake", "sdv1.4", "stable_diffusion_v_1_4", "stable_diffusion_v_1_4", "train")],
        "train/E4S/1_fake/0.png": [],
    },
    "chameleon": {
        "test/0_real/0.jpg": [("real", "chameleon", "", "chameleon-real", "test")],
        "Chameleon/test/1_fake/0.jpg": [("fake", "chameleon", "unknown", "chameleon-fake", "test")],
    },
    "synthbuster": {
        "synthbuster/midjourney-v5/r0.png": [("fake", "midjourney-v5", "midjourney-v5", "midjourney-v5", "test")],
        "synthbuster/real_RAISE_1k/r0.png": [
            ("real", name, "", "raise", "test")
            for name in (
                *("dalle2", "dalle3", "firefly", "glide", "midjourney-v5"),
                *("stable-diffusion-1-3", "stable-diffusion-1-4", "stable-diffusion-2", "stable-diffusion-xl"),
            )
        ],
    },
    "drct2m": {
        "DRCT-2M/sdxl-turbo/val2017/0.png": [("fake", "sdxl-turbo", "sdxl-turbo", "sdxl-turbo", "test")],
        "DRCT-2M/sd-turbo/train2017/0.png": [("fake", "sd-turbo", "sd-turbo", "sd-turbo", "train")],
        "MSCOCO/train2017/0.jpg": [("real", "MSCOCO", "", "coco", "train")],
        "DRCT-2M/sdxl-turbo/full_inpainting/val2017/0.png": [],
    },
    "communityforensics": {
        "FFHQ/real/0.png": [("real", "communityforensics", "", "FFHQ", "test")],
        "sd-2/fake/0.png": [("fake", "communityforensics", "sd-2", "sd-2", "test")],
    },
    "wildrf": {
        "WildRF/test/facebook/0_real/0.jpg": [("real", "facebook", "", "facebook-real", "test")],
        "twitter/1_fake/0.jpg": [("fake", "twitter", "unknown:twitter", "twitter-fake", "test")],
        "train/1_fake/0.jpg": [("fake", "reddit", "unknown:reddit", "reddit-fake", "train")],
        "train/twitter/1_fake/0.jpg": [],
    },
    "synthwildx": {
        "firefly/0.jpg": [("fake", "firefly", "firefly", "firefly", "test")],
        "real/0.jpg": [("real", name, "", "x", "test") for name in ("dalle3", "firefly", "midjourney")],
    },
    "folder": {
        "train/sd/1_fake/0.png": [("fake", "sd", "sd", "sd", "train")],
        "a/b/nature/0.jpg": [("real", "a/b", "", "a/b", "test")],
        "real/0.jpg": [("real", "", "", "real", "test")],
        "Fake/gan/test/0.jpg": [("fake", "", "gan", "gan", "test")],
        "ai/0.png": [("fake", "", "unknown", "fake", "test")],
        "misc/0.png": [],
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_cards_say_what_must_be_known(name):
    of = benchmark(name)
    assert of.card.name == name
    assert of.layout
    assert all(value for key, value in of.card.model_dump().items() if key in {"title", "licence", "where", "label_rule", "training", "real_sources"})
    assert all(set(names) <= set(of.card.sets) for names in of.card.means.values())
    assert len({(size.set, size.split) for size in of.card.sizes}) == len(of.card.sizes)
    assert all((size.known == "unknown") == (not size.real and not size.fake) for size in of.card.sizes)


def test_every_module_of_the_package_is_registered_or_a_helper():
    import pkgutil

    helpers = {"card", "check", "columns", "families", "manifest", "published", "walk"}
    assert {module.name.replace("_", "-") for module in pkgutil.iter_modules(benchmarks.__path__)} - helpers == set(NAMES)


def test_unknown_names_are_refused_and_the_known_ones_told():
    with pytest.raises(ValueError, match=r"'imagenet' is no benchmark; there are genimage, "):
        benchmark("imagenet")


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("genimage", 8),
        ("aigcdetect", 17),
        ("universalfakedetect", 19),
        ("universalfakedetect-8", 8),
        ("forensynths", 13),
        ("aigibench", 25),
        ("synthbuster", 9),
        ("drct2m", 16),
        ("communityforensics", 1),
        ("wildrf", 3),
        ("synthwildx", 3),
    ],
)
def test_as_many_sets_as_published(name, count):
    assert len(benchmark(name).card.sets) == count


@pytest.mark.parametrize(("name", "count"), [("aigibench", 25), ("wildrf", 3)])
def test_sets_whose_generators_nobody_knows_are_not_pooled(name, count, tmp_path):
    of = benchmark(name)
    made = {(sample.set, sample.generator) for sample in of.samples(fill(tmp_path, of.layout["test set alone"], b"")) if sample.fake}
    assert len({generator for _, generator in made}) == len(made) == count


@pytest.fixture(scope="class", params=LAYOUTS, ids="-".join)
def tree(request, tmp_path_factory):
    """A benchmark, one of its layouts, and a folder filled with that."""
    name, layout = request.param
    of = benchmark(name)
    return of, of.layout[layout], fill(tmp_path_factory.mktemp("tree"), of.layout[layout])


class TestLayout:
    def test_is_whole(self, tree):
        of, paths, root = tree
        found = check(root, of)
        assert (found.missing, found.broken, found.extra) == ((), (), ())
        assert found.pictures == len(paths)

    def test_gives_each_set_both_classes(self, tree):
        of, _, root = tree
        needed = {size.set for size in of.card.sizes if size.needed}
        for label in ("real", "fake"):
            assert needed <= {sample.set for sample in of.samples(root) if sample.label == label and sample.split == "test"}

    def test_gives_each_generator_real_pictures_to_be_told_from(self, tree):
        """Else its AP and AUC are of nothing."""
        of, _, root = tree
        tested = [sample for sample in of.samples(root) if sample.split == "test"]
        assert {sample.set for sample in tested if sample.fake} <= {sample.set for sample in tested if not sample.fake}

    def test_real_pictures_have_a_source_and_no_generator(self, tree):
        of, _, root = tree
        for sample in of.samples(root):
            assert sample.source
            assert bool(sample.generator) == sample.fake

    def test_comes_in_one_order_whatever_order_the_disk_has(self, tree, monkeypatch):
        of, _, root = tree
        found = of.samples(root)
        walk = os.walk

        def turned(*arguments, **options):
            for here, below, files in walk(*arguments, **options):
                below.reverse()
                yield here, below, files[::-1]

        monkeypatch.setattr(os, "walk", turned)
        assert of.samples(root) == found
        assert len({(sample.path, sample.set) for sample in found}) == len(found)


@pytest.mark.parametrize(("name", "path"), [(name, path) for name, paths in EXPECTED.items() for path in paths])
def test_what_a_picture_is(name, path, tmp_path):
    found = benchmark(name).samples(fill(tmp_path, [path], b""))
    assert [tuple(getattr(sample, field) for field in FIELDS) for sample in found] == EXPECTED[name][path]
    assert all((sample.path, sample.file) == (path, tmp_path / path) for sample in found)


# Of these it is published that a fake has the file name of the photograph whose description, caption or edges it was made from.
GROUPED = {
    "synthbuster": ("synthbuster/dalle2/r000da54ft.png", "synthbuster/glide/r000da54ft.png", "RAISE/r000da54ft.TIF"),
    "drct2m": ("DRCT-2M/sd-turbo/val2017/000000000139.png", "MSCOCO/val2017/000000000139.jpg", "sdxl-turbo/train2017/000000000139.png"),
}


@pytest.mark.parametrize("name", OF_FILES)
def test_group_is_told_where_files_are_named_after_a_photograph_and_nowhere_else(name, tmp_path):
    of = benchmark(name)
    found = of.samples(fill(tmp_path, GROUPED.get(name) or next(iter(of.layout.values())), b""))
    expected = {"000000000139", "r000da54ft"} if name in GROUPED else {None}
    assert {(sample.model_extra or {}).get("group") for sample in found} <= expected
    assert {sample.path for sample in found} >= set(GROUPED.get(name, ()))


def test_pictures_of_a_group_are_drawn_together_without_being_asked_for(tmp_path):
    found = benchmark("synthbuster").samples(fill(tmp_path, GROUPED["synthbuster"], b""))
    assert clusters_by(None, {name for sample in found for name in sample.model_extra or ()}) == "group"


def test_a_manifest_keeps_groups(tmp_path):
    write_benchmark(benchmark("drct2m").samples(fill(tmp_path, GROUPED["drct2m"], b"")), tmp_path / "manifest.csv")
    assert {sample.group for sample in read_manifest(tmp_path / "manifest.csv")} == {"000000000139"}
    write_benchmark(benchmark("folder").samples(fill(tmp_path / "plain", ["real/0.jpg", "fake/0.jpg"], b"")), tmp_path / "plain" / "m.csv")
    assert (tmp_path / "plain" / "m.csv").read_text().splitlines()[0] == "path,label,generator,source,split"


def test_all_trees_of_files_have_hand_written_expectations():
    assert set(EXPECTED) == set(OF_FILES)


class TestLabels:
    def test_go_by_name_where_the_alphabet_says_the_opposite(self):
        for pair in (("nature", "ai"), ("0_real", "1_fake"), ("real", "fake")):
            assert [label_of(folder) for folder in pair] == ["real", "fake"]
        assert sorted(["nature", "ai"]).index("ai") < sorted(["0_real", "1_fake"]).index("1_fake")

    def test_other_names_are_no_class(self):
        assert [label_of(name) for name in ("0", "1", "realistic", "fakes", "0_fake", "")] == [""] * 6

    def test_both_on_one_path_are_refused(self, tmp_path):
        with pytest.raises(BenchmarkError, match=r"real/ai: is this real or fake\?"):
            benchmark("folder").samples(fill(tmp_path, ["real/ai/0.png"]))


class TestShared:
    def test_own_real_pictures_come_before_shared_ones(self, tmp_path):
        paths = ["diffusion_datasets/laion/0_real/0.jpg", "diffusion_datasets/dalle/0_real/1.jpg"]
        found = benchmark("universalfakedetect").samples(fill(tmp_path, paths))
        assert [sample.path for sample in found if sample.set == "dalle"] == [paths[1]]
        assert [sample.path for sample in found if sample.set == "ldm_100"] == [paths[0]]


class TestWalking:
    def test_hidden_files_and_other_files_are_no_pictures(self, tmp_path):
        fill(tmp_path, ["real/._0.jpg", "real/notes.txt", "real/0.jpg", "real/1.svg"])
        assert [sample.path for sample in benchmark("folder").samples(tmp_path)] == ["real/0.jpg"]

    def test_links_are_followed_and_circles_end(self, tmp_path):
        fill(tmp_path, ["elsewhere/0.jpg", "tree/fake/0.png"])
        (tmp_path / "tree" / "real").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (tmp_path / "tree" / "fake" / "again").symlink_to(tmp_path / "tree", target_is_directory=True)
        assert [sample.path for sample in benchmark("folder").samples(tmp_path / "tree")] == ["fake/0.png", "real/0.jpg"]

    def test_a_root_that_is_not_there(self, tmp_path):
        with pytest.raises(ManifestError, match="nowhere: there is no such folder"):
            benchmark("genimage").samples(tmp_path / "nowhere")

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every name of a file is text")
    def test_names_that_are_no_text_are_taken_in_escaped(self, tmp_path):
        fill(tmp_path, ["real/0.jpg", "fake/0.jpg", "fake/caf\udce9.jpg", "r\udce9/real/0.jpg"])
        found = benchmark("folder").samples(tmp_path)
        assert [sample.path for sample in found] == ["fake/0.jpg", "fake/caf\\xe9.jpg", "r\\xe9/real/0.jpg", "real/0.jpg"]
        assert all(sample.file.is_file() for sample in found) and found[2].set == "r\\xe9"
        checked = check(tmp_path, benchmark("folder"))
        assert (checked.pictures, checked.ok, checked.extra) == (4, True, ())
        assert checked.model_dump_json()
        with pytest.raises(ManifestError, match=r"caf.*xe9\.jpg: a name that is not UTF-8 cannot stand in a manifest"):
            write_benchmark(found, tmp_path / "m.csv")

    def test_opens_nothing(self, tmp_path, monkeypatch):
        of = benchmark("genimage")
        fill(tmp_path, of.layout["official"])
        monkeypatch.setattr("builtins.open", None)
        monkeypatch.setattr("pathlib.Path.open", None)
        assert of.samples(tmp_path)


class TestSettings:
    @pytest.mark.parametrize(("setting", "sets"), [("I", {"car", "cat", "chair", "horse"}), ("II", {"car", "cat", "chair", "horse", "sdv1.4"})])
    def test_of_aigibench(self, setting, sets, tmp_path):
        found = aigibench.training(aigibench.samples(fill(tmp_path, aigibench.LAYOUT["official"])), setting)
        assert {sample.set for sample in found} == sets
        assert {sample.split for sample in found} == {"train"}

    def test_of_which_a_part_is_not_there(self, tmp_path):
        found = aigibench.samples(fill(tmp_path, ["train/car/0_real/0.png", "train/cat/1_fake/0.png", "train/horse/1_fake/0.png"]))
        with pytest.raises(BenchmarkError, match=r"there are no pictures of chair, sdv1\.4 \(train\)"):
            aigibench.training(found, "II")


class TestCsv:
    @pytest.mark.parametrize("given", ["manifest.csv", "."])
    def test_is_a_manifest_with_its_sets(self, given, tmp_path):
        fill(tmp_path, ["a.png", "b.png"])
        rows = [{"path": "a.png", "label": "real", "set": "s", "source": "x"}, {"path": "b.png", "label": "fake", "set": "s", "source": "y"}]
        write_manifest(tmp_path / "manifest.csv", rows)
        found = benchmark("csv").samples(tmp_path / given)
        assert [(sample.path, sample.label, sample.set, sample.source) for sample in found] == [
            ("a.png", "real", "s", "x"),
            ("b.png", "fake", "s", "y"),
        ]
