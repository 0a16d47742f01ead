"""The check names what is wrong with a repository: file, line, and what to do."""

from __future__ import annotations

# ruff: noqa: E501 - the table of faults reads best with one fault a line
from pathlib import Path

import pytest

from tests.repository.trees import (
    ENSEMBLE_CONFIG,
    GOOD,
    MODEL_JSON,
    MODEL_PY,
    PYTHON_CONFIG,
    VLLM_CONFIG,
    check,
    write_tree,
)
from tritonfleet.errors import UsageError
from tritonfleet.repository import check_repository
from tritonfleet.repository.check.arguments import vllm_arguments


def test_a_good_repository_has_no_findings(tmp_path: Path) -> None:
    """vLLM, Python with dynamic batching, an ensemble of both."""
    assert check(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("files", "finding"),
    [
        # config.pbtxt
        (
            {"llm/config.pbtxt": 'bakend: "vllm"\n'},
            'llm/config.pbtxt:1: error: Message type "inference.ModelConfig" has no field named "bakend"; did you mean backend?',
        ),
        (
            {"llm/config.pbtxt": VLLM_CONFIG + 'input [ { name: "x"\n data_type: TYPE_STRNG } ]'},
            'llm/config.pbtxt:4: error: Enum type "inference.DataType" has no value named TYPE_STRNG; did you mean TYPE_STRING?',
        ),
        (
            {"llm/config.pbtxt": 'backend: "vllm"\nmodel_transaction_policy { decopled: true }\n'},
            'has no field named "decopled"; did you mean decoupled?',
        ),
        ({"llm/config.pbtxt": 'name: "lm"\n' + VLLM_CONFIG}, "llm/config.pbtxt:1: error: name 'lm' differs from the folder's name 'llm'"),
        ({"llm/config.pbtxt": None}, 'llm: error: nothing tells the backend; write llm/config.pbtxt with the line backend: "vllm"'),
        ({"llm/config.pbtxt": 'backend: "vlm"'}, "llm/config.pbtxt:1: error: backend 'vlm' is not one of Triton's; did you mean 'vllm'?"),
        ({"llm/config.pbtxt": 'backend: "acme"'}, "llm/config.pbtxt:1: warning: backend 'acme' is not one of Triton's; its files must"),
        ({"llm/config.pbtxt": "max_batch_size: -1\n" + VLLM_CONFIG}, "llm/config.pbtxt:1: error: max_batch_size is -1; write 0"),
        (
            {"prepare/config.pbtxt": PYTHON_CONFIG.replace("{ }", "{ preferred_batch_size: [ 16 ] }")},
            "prepare/config.pbtxt:3: error: preferred_batch_size 16 is above max_batch_size 8",
        ),
        (
            {"prepare/config.pbtxt": PYTHON_CONFIG.replace(" dims: [ 1 ] } ]\noutput", " } ]\noutput")},
            "prepare/config.pbtxt:4: error: input 'TEXT_IN' has no dims",
        ),
        (
            {"prepare/config.pbtxt": PYTHON_CONFIG.replace("dims: [ 1 ] } ]\noutput", "dims: [ 0 ] } ]\noutput")},
            "prepare/config.pbtxt:4: error: input 'TEXT_IN' has dims [0]; each is a positive number",
        ),
        (
            {"prepare/config.pbtxt": PYTHON_CONFIG.replace("data_type: TYPE_STRING dims: [ 1 ] } ]\noutput", "dims: [ 1 ] } ]\noutput")},
            "prepare/config.pbtxt:4: error: input 'TEXT_IN' has no data_type",
        ),
        (
            {"prepare/config.pbtxt": PYTHON_CONFIG + 'input [ { name: "TEXT_IN" data_type: TYPE_STRING dims: [ 1 ] } ]'},
            "prepare/config.pbtxt:4: warning: input 'TEXT_IN' is there 2 times; keep one of them",
        ),
        # versions and files
        (
            {"llm/1/model.json": None, "llm/v1/model.json": MODEL_JSON},
            "llm/v1: warning: Triton does not take 'v1' for a version; name version folders 1, 2, 3 ...",
        ),
        ({"chain/1/.keep": None}, "chain: error: there is no version folder; make chain/1 (an empty one is enough"),
        (
            {"llm/config.pbtxt": VLLM_CONFIG + "version_policy { specific { versions: [ 2 ] } }"},
            "llm/config.pbtxt:3: error: version_policy names version 2; there are: 1",
        ),
        ({"prepare/1/model.py": None, "prepare/1/": ""}, "prepare/1: error: the python backend finds no model.py here"),
        (
            {"onnx/config.pbtxt": 'platform: "onnxruntime_onnx"', "onnx/1/": ""},
            "onnx/1: error: the onnxruntime backend finds no model.onnx here",
        ),
        ({"docs/readme.md": "hello"}, "docs: warning: holds neither config.pbtxt nor a version folder, so it is no model"),
        # vLLM
        (
            {"llm/config.pbtxt": VLLM_CONFIG + "model_transaction_policy {\n decoupled: false }\n"},
            "llm/config.pbtxt:3: error: model_transaction_policy is not decoupled",
        ),
        ({"llm/config.pbtxt": VLLM_CONFIG + "max_batch_size: 4"}, "llm/config.pbtxt:3: warning: max_batch_size is 4"),
        (
            {"llm/config.pbtxt": VLLM_CONFIG.replace("count: 1", "count: 2")},
            "llm/config.pbtxt:2: warning: instance_group asks for 2 instances",
        ),
        (
            {
                "llm/config.pbtxt": VLLM_CONFIG.replace("KIND_MODEL", "KIND_GPU"),
                "llm/1/model.json": '{"model": "a", "tensor_parallel_size": "2"}',
            },
            "llm/config.pbtxt:2: error: KIND_GPU is for one GPU, and model.json asks for 2; write kind: KIND_MODEL",
        ),
        (
            {"llm/config.pbtxt": VLLM_CONFIG + 'input [ { name: "text_input" data_type: TYPE_INT32 dims: [ 1 ] } ]'},
            "llm/config.pbtxt:3: error: input 'text_input' has data_type TYPE_INT32; the backend has TYPE_STRING there",
        ),
        (
            {"llm/config.pbtxt": VLLM_CONFIG + 'input [ { name: "text_imput" data_type: TYPE_STRING dims: [ 1 ] } ]'},
            "llm/config.pbtxt:3: warning: the backend has no input 'text_imput'; did you mean 'text_input'?",
        ),
        (
            {"llm/config.pbtxt": VLLM_CONFIG + 'parameters { key: "REPORT_CUSTOM_METRICS" value { string_value: "on" } }'},
            "llm/config.pbtxt:3: warning: parameter REPORT_CUSTOM_METRICS is 'on'; write \"true\" or \"false\"",
        ),
        ({"llm/1/model.json": None, "llm/1/": ""}, "llm/1/model.json: error: is missing; it holds the engine's arguments"),
        (
            {"llm/1/model.json": None, "llm/1/vllm_engine_args.json": "{}"},
            "llm/1/model.json: error: is missing; it holds the engine's arguments; rename vllm_engine_args.json",
        ),
        ({"llm/model.json": MODEL_JSON}, "llm/model.json: warning: is not read here; move it to llm/1/"),
        ({"llm/1/model.json": '{\n "model": "a",\n}'}, "llm/1/model.json:"),
        ({"llm/1/model.json": "[]"}, "llm/1/model.json:1: error: holds an array; it must hold a JSON object"),
        ({"llm/1/model.json": '{"model": "a",\n"model": "b"}'}, "llm/1/model.json:1: error: the key 'model' is there twice"),
        ({"llm/1/model.json": "{}"}, "llm/1/model.json:1: warning: names no model, so vLLM loads its small default model"),
        (
            {"llm/1/model.json": '{"model": "a",\n "gpu_memory_utilisation": 0.5}'},
            "llm/1/model.json:2: error: 'gpu_memory_utilisation' is no argument of vLLM",
        ),
        ({"llm/1/model.json": '{"model": "a",\n "gpu_memory_utilisation": 0.5}'}, "did you mean 'gpu_memory_utilization'?"),
        ({"llm/1/model.json": '{"model": "a", "max-num-seqs": 4}'}, "did you mean 'max_num_seqs'?"),
        (
            {"llm/1/model.json": '{"model": "a", "disable_log_requests": true}'},
            "llm/1/model.json:1: warning: 'disable_log_requests' is not an argument of vLLM",
        ),
        ({"llm/1/model.json": '{"model": "a", "chat_template": "x"}'}, "is an option of vLLM's server, not of its engine"),
        (
            {"llm/1/model.json": '{"model": "a", "gpu_memory_utilization": 90}'},
            "error: gpu_memory_utilization is 90; it is a part of the GPU's memory between 0 and 1: write 0.9",
        ),
        ({"llm/1/model.json": '{"model": "a", "max_num_seqs": 0}'}, "error: max_num_seqs is 0; write a whole number from 1 on"),
        ({"llm/1/model.json": '{"model": "a", "enforce_eager": 1}'}, "error: enforce_eager is 1, which is an integer; write a boolean"),
        ({"llm/1/model.json": '{"model": "a", "max_num_seqs": "many"}'}, 'error: max_num_seqs is "many", which is a string; write an integer'),
        ({"llm/1/model.json": '{"model": "a", "dtype": "float61"}'}, "warning: dtype is \"float61\", which vLLM"),
        # LoRA
        (
            {"llm/1/model.json": '{"model": "a", "enable_lora": true}'},
            "llm/1/multi_lora.json: error: is missing, and enable_lora is true",
        ),
        ({"llm/1/multi_lora.json": '{"a": "org/a"}'}, "llm/1/multi_lora.json: warning: is not read, because enable_lora is not true"),
        (
            {"llm/1/model.json": '{"model": "a", "enable_lora": "True"}', "llm/1/multi_lora.json": '{\n"a": 1}'},
            "llm/1/multi_lora.json:2: error: adapter 'a' is 1; write its path as text",
        ),
        (
            {"llm/1/model.json": '{"model": "a", "enable_lora": "True"}', "llm/1/multi_lora.json": '{"a": "/no/such"}'},
            "llm/1/multi_lora.json:1: warning: adapter 'a': there is no /no/such here",
        ),
        # Python
        ({"prepare/1/model.py": "def f(:\n"}, "prepare/1/model.py:1: error: is not Python: invalid syntax"),
        ({"prepare/1/model.py": "class Model:\n    pass\n"}, "prepare/1/model.py: error: defines no class TritonPythonModel"),
        (
            {"prepare/1/model.py": "\nclass TritonPythonModel:\n    pass\n"},
            "prepare/1/model.py:2: error: TritonPythonModel has no method execute",
        ),
        (
            {"prepare/config.pbtxt": 'backend: "python"'},
            "prepare/config.pbtxt: warning: config.pbtxt lists no inputs, and TritonPythonModel has no auto_complete_config",
        ),
        # ensembles
        (
            {"chain/config.pbtxt": ENSEMBLE_CONFIG.replace('"prepare"', '"prepar"')},
            "chain/config.pbtxt:7: error: step 'prepar': there is no such model in the repository; did you mean 'prepare'?",
        ),
        (
            {"chain/config.pbtxt": ENSEMBLE_CONFIG.replace("model_version: 1", "model_version: 3")},
            "chain/config.pbtxt:14: error: step 'llm': it has no version 3; there are 1; write -1 for the newest",
        ),
        (
            {"chain/config.pbtxt": ENSEMBLE_CONFIG.replace('key: "text_input"', 'key: "text_inputs"')},
            "chain/config.pbtxt:15: error: step 'llm' has no input 'text_inputs'; did you mean 'text_input'?",
        ),
        (
            {"chain/config.pbtxt": ENSEMBLE_CONFIG.replace('key: "text_output"', 'key: "text_out"')},
            "chain/config.pbtxt:16: error: step 'llm' has no output 'text_out'; did you mean 'text_output'?",
        ),
        (
            {"chain/config.pbtxt": ENSEMBLE_CONFIG.replace('value: "prompt" }\n    }\n  ]', "")
             .replace('key: "text_input" value: "prompt"', 'key: "text_input" value: "promt"')},
            "error: step 'llm' takes tensor 'promt', which nothing makes; did you mean 'prompt'?",
        ),
        (
            {"chain/config.pbtxt": ENSEMBLE_CONFIG.replace('name: "answer"', 'name: "reply"')},
            "chain/config.pbtxt:3: error: the ensemble's output is 'reply', which nothing makes",
        ),
        (
            {"chain/config.pbtxt": ENSEMBLE_CONFIG.replace('input_map { key: "TEXT_IN" value: "question" }', "")},
            "chain/config.pbtxt:7: error: step 'prepare': its input 'TEXT_IN' gets nothing",
        ),
        (
            {"chain/config.pbtxt": ENSEMBLE_CONFIG.replace('value: "answer"', 'value: "question"')},
            "error: two steps, or a step and an input, make tensor 'question'; rename one",
        ),
        (
            {"chain/config.pbtxt": ENSEMBLE_CONFIG + "instance_group [ { count: 1 } ]"},
            "error: an ensemble has no instances of its own; remove instance_group",
        ),
        (
            {"chain/config.pbtxt": ENSEMBLE_CONFIG.replace('platform: "ensemble"\n', "")},
            "chain/config.pbtxt:3: error: platform is '' beside ensemble_scheduling; write platform: \"ensemble\"",
        ),
        (
            {"chain/config.pbtxt": ENSEMBLE_CONFIG.replace('key: "text_input"', 'key: "stream"')},
            "chain/config.pbtxt:10: error: tensor 'prompt' is TYPE_STRING in prepare's TEXT_OUT and TYPE_BOOL in llm's stream",
        ),
        ({"chain/config.pbtxt": 'platform: "ensemble"'}, "chain/config.pbtxt:1: error: the ensemble has no steps"),
    ],
)  # fmt: skip
def test_each_fault_is_found(files: dict[str, str | None], finding: str, tmp_path: Path) -> None:
    """One fault in an otherwise good repository; the finding begins with, or holds, the text."""
    found = check(tmp_path, GOOD | files)
    assert any(finding in line for line in found), found


@pytest.mark.parametrize(
    "files",
    [
        {"llm/config.pbtxt": 'backend: "vllm"'},
        {"llm/config.pbtxt": 'name: "llm"\nbackend: "vllm"\nmax_batch_size: 0\nmodel_transaction_policy {\n  decoupled: True\n}\n'
         'input [\n { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] },\n'
         ' { name: "stream" data_type: TYPE_BOOL dims: [ 1 ] optional: true }\n]\n'
         'output [ { name: "text_output" data_type: TYPE_STRING dims: [ -1 ] } ]\n'},
        {"llm/1/model.json": '{"model": "a", "gpu_memory_utilization": "0.5", "max_model_len": "8k", "enforce_eager": "True"}'},
        {"llm/1/model.json": '{"model": "a", "quantization": null, "hf_overrides": "{}", "block_size": 16}'},
        {"llm/2/model.json": MODEL_JSON, "llm/notes.txt": "x", ".git/config": "x", "README.md": "x"},
        {"llm/config.pbtxt": VLLM_CONFIG + 'parameters { key: "tritonfleet_engine" value { string_value: "sglang" } }',
         "llm/1/model.json": '{"model": "a", "mem_fraction_static": 0.8}'},
        {"prepare/config.pbtxt": 'backend: "python"',
         "prepare/1/model.py": MODEL_PY + "    @staticmethod\n    def auto_complete_config(c):\n        return c\n"},
        {"prepare/1/model.py": "from base import Model as TritonPythonModel\n"},
        {"prepare/1/model.py": "class TritonPythonModel(Base):\n    pass\n"},
        {"bare/1/model.py": MODEL_PY + "    def auto_complete_config(c): ...\n"},
        {"acme/config.pbtxt": 'backend: "acme"', "acme/libtriton_acme.so": "", "acme/1/": ""},
        {"llm/config.pbtxt": VLLM_CONFIG + 'input [ { name: "PROMPT" data_type: TYPE_STRING dims: [ 1 ] } ]'},
    ],
)  # fmt: skip
def test_what_triton_takes_is_not_complained_about(files: dict[str, str | None], tmp_path: Path) -> None:
    """Optional fields, numbers in quotes, hidden folders, models without a config, backends of one's own."""
    assert check(tmp_path, GOOD | files) == []


def test_findings_are_in_the_order_of_the_files(tmp_path: Path) -> None:
    """So that one can work through them."""
    bad = GOOD | {"llm/1/model.json": '{"model": "a",\n"b": 1,\n"a": 1}', "chain/1/.keep": None}
    found = check_repository(write_tree(tmp_path, bad))
    assert [(str(finding.path), finding.line) for finding in found] == [
        ("chain", None),
        ("llm/1/model.json", 2),
        ("llm/1/model.json", 3),
    ]


def test_folders_that_are_no_repository(tmp_path: Path) -> None:
    """A missing one, an empty one, a model's own folder, an address."""
    with pytest.raises(UsageError, match="there is no such folder"):
        check_repository(tmp_path / "nothing")
    assert "the repository is empty" in str(check_repository(tmp_path)[0])
    write_tree(tmp_path, GOOD)
    assert "this is one model's folder" in str(check_repository(tmp_path / "llm")[0])
    with pytest.raises(UsageError, match="run `tritonfleet repository pull` first"):
        check_repository(Path("s3://bucket/repository"))


def test_an_ensemble_may_use_models_of_a_repository_beside(tmp_path: Path) -> None:
    """One server reads several; only the first is checked."""
    other = write_tree(tmp_path / "other", {"llm/config.pbtxt": VLLM_CONFIG, "llm/1/model.json": "{"})
    here = write_tree(tmp_path / "here", {name: text for name, text in GOOD.items() if not name.startswith("llm/")})
    assert "if another repository of the server has it, add --beside DIR" in str(check_repository(here)[0])
    assert check_repository(here, beside=[other]) == []


def test_files_that_are_not_text(tmp_path: Path) -> None:
    """Binary rubbish is a finding, not a traceback."""
    write_tree(tmp_path, GOOD)
    for name in ("llm/config.pbtxt", "prepare/1/model.py", "llm/1/multi_lora.json"):
        (tmp_path / name).write_bytes(b"\xff\x00\xfe")
    found = "\n".join(map(str, check_repository(tmp_path)))
    assert "llm/config.pbtxt: error: cannot be read" in found
    assert "prepare/1/model.py" in found


def test_the_list_of_arguments_names_its_version() -> None:
    """It is made by scripts/vllm_arguments.py."""
    version, known = vllm_arguments()
    assert version.count(".") == 2
    assert {"model", "gpu_memory_utilization", "tensor_parallel_size", "enable_lora"} <= known.keys()
