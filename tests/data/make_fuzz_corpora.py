#!/usr/bin/env python3
"""Makes seeds of the fuzz targets of several files, of checksums and of result documents.

Usage: make_fuzz_corpora.py MOEQ      (a build's program, for results of sweep and verify: the rest is written here)

Into tests/fuzz/corpus: recording, ids_file, gate, report, quality, gguf_split, hf_shards, moeq_shards, journal,
kept_states, text_lines, chat_file, samples. Needs Python alone. Framings, and what of sums is left to the targets
("########", bit 0 of the flags), are described in tests/fuzz.
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests/fuzz/corpus"
WIDTH = {"U8": 1, "BF16": 2, "F32": 4, "I32": 4, "I64": 8, "U32": 4}


def put(target, name, data):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def parts(*all_parts):
    out = b""
    for part in all_parts:
        part = part if isinstance(part, bytes) else part.encode()
        out += struct.pack("<I", len(part)) + part
    return out


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def header(tensors, metadata=None):
    """tensors: name -> (dtype, shape), side by side in this order."""
    out, at = ({"__metadata__": metadata} if metadata else {}), 0
    for name, (dtype, shape) in tensors.items():
        size = WIDTH[dtype]
        for n in shape:
            size *= n
        out[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    return compact(out)


def summed(tensors):
    return dict(tensors, **{"moeq.crc32": ("U32", [len(tensors) + 2])})


MIXTRAL = {"model_type": "mixtral", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
           "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 8, "num_local_experts": 2,
           "num_experts_per_tok": 1, "tie_word_embeddings": False}
LLAMA = {"model_type": "llama", "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,
         "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 5, "tie_word_embeddings": False}
LLAMA_TENSORS = {"model.embed_tokens.weight": [5, 4], "model.norm.weight": [4], "lm_head.weight": [5, 4],
                 **{f"model.layers.0.{name}.weight": shape for name, shape in {
                     "input_layernorm": [4], "post_attention_layernorm": [4], "self_attn.q_proj": [4, 4],
                     "self_attn.k_proj": [2, 4], "self_attn.v_proj": [2, 4], "self_attn.o_proj": [4, 4],
                     "mlp.gate_proj": [6, 4], "mlp.up_proj": [6, 4], "mlp.down_proj": [4, 6]}.items()}}


# ---- recordings, ids ----

def recording(name, config=MIXTRAL, version="1", more_run=(), tasks=None, flags=1, head=None, text=b"abcdefgh"):
    hidden, vocab, layers = config["hidden_size"], config["vocab_size"], config["num_hidden_layers"]
    tokens = 8 + (tasks["ids"][0] * tasks["ids"][1] if tasks else 0)
    text_of_config = compact(config).encode()
    ids = struct.pack("<8i", *range(8))
    tensors = {"config.json": ("U8", [len(text_of_config)]), "text": ("U8", [len(text)]), "input_ids": ("I32", [2, 4])}
    data = text_of_config + text + ids
    if tasks:
        rows = tasks["rows"]
        tensors["task_sequences"] = ("I32", [len(rows), 6])
        tensors["task_ids"] = ("I32", tasks["ids"])
        data += b"".join(struct.pack("<6i", *row) for row in rows)
    tensors["output_norm"] = ("BF16", [hidden])
    tensors["head"] = head or ("F32", [vocab, hidden])
    tensors["hidden"] = ("F32", [tokens, hidden])
    for layer in range(layers if "num_local_experts" in config else 0):
        tensors[f"router.{layer}"] = ("F32", [tokens, config["num_local_experts"]])
    run = {"protocol": "half", "text": "t.txt", "text_tokens": 9, "context": 4, "bos": 1, "token_ids_crc32": "########",
           "tokenizer_crc32": "0123abcd", "model": "m", "weights": 10, "weight_bytes": 20, "file_bytes": 30, **dict(more_run)}
    metadata = {"format": "moeqref", "moeqref.version": version, "moeqref.producer": "moeq", "moeqref.family": "mixtral",
                "moeqref.source": compact([{"name": "a", "bytes": 5, "header_crc32": "00000001"}]),
                "moeqref.run": compact(run)}
    put("recording", name, parts(bytes([flags]), header(summed(tensors), metadata), data))


def recordings():
    recording("sound")
    recording("unmended", flags=0)
    recording("dense", LLAMA | {"vocab_size": 8})
    recording("domains", more_run={"domains": [{"name": "a", "windows": 1, "tokens": 5, "bytes": 4},
                                               {"name": "b", "windows": 1, "tokens": 4, "bytes": 4}]}.items())
    tasks = {"ids": [1, 3], "rows": [(0, 1, 2, 1, 1, 0), (0, 1, 2, 2, 1, -1)]}
    recording("tasks", version="2", tasks=tasks, more_run={"tasks": [{"name": "t", "count": 1}]}.items())
    recording("int8", MIXTRAL | {"hidden_size": 32}, head=("U8", [8, 34]),
              more_run={"compute": "int8", "head_level": "q8_0"}.items())


def ids_files():
    for name, dtype, code in (("narrow", "I32", "i"), ("wide", "I64", "q")):
        data = struct.pack(f"<6{code}", 0, 1, 2, 3, 4, 999)
        put("ids_file", name, parts(b"\1", header({"input_ids": (dtype, [2, 3])}), data))
    put("ids_file", "beyond", parts(b"\0", header({"input_ids": ("I32", [1, 2])}), struct.pack("<2i", 1, 1000)))


# ---- gates, lines ----

def gates():
    limits = {"kld.mean": {"max": 0.02}, "code/kld.mean": {"max": 0.03}, "same_top": {"min": 0.9, "max": 1},
              "routing.layers.1.exact_set": {"min": 0.9}, "b_minus_a.kld.mean": {"max": 0.001}}
    put("gate", "sound", compact({"moeq_gate": 1, "token_ids_crc32": "1a2b3c4d", "compute": "int8",
                                  "baseline_compute": "f32", "made": {"by": "moeq"}, "limits": limits}))
    put("gate", "one", compact({"moeq_gate": 1, "limits": {"ppl.ratio": {"max": 1.01}}}))
    put("gate", "unknown", compact({"moeq_gate": 1, "limits": {"kld.maen": {"max": 1}}}))
    put("gate", "empty", compact({"moeq_gate": 1, "limits": {}}))


def text_lines():
    put("text_lines", "sound", '{"text": "a b\\u0000c \\ud83d\\ude00"}\n \r\n{"text": "", "add_special_tokens": false}\n'
        '{"add_special_tokens": 1, "text": "x", "text": "\u00e9"}')
    put("text_lines", "no_text", '{"text": 1}\n')
    put("text_lines", "cut", '{"text": "a')


def chats():
    def say(role, content):
        return {"role": role, "content": content}

    chat = [say("system", "s"), say("user", "\u00e9"), say("assistant", "b"), say("user", "c")]
    put("chat_file", "list", compact(chat))
    put("chat_file", "object", compact({"messages": chat[1:]}))
    put("chat_file", "lines", "\n\n".join(map(compact, chat)))
    put("chat_file", "unanswered", compact(chat[:3]))


def samples():
    put("samples", "sound", 'a b\r\n\n{"prompt": "\u00e9\\n"}\n{"chat": "a", "system": "b"}')
    put("samples", "empty", "\n \n")
    put("samples", "neither", '{"text": "a"}')


# ---- models in several files ----

def hf_shards():
    names = list(LLAMA_TENSORS)
    shards = [{n: ("BF16", LLAMA_TENSORS[n]) for n in half} for half in (names[:6], names[6:])]
    files = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = {"metadata": {"total_size": 1}, "weight_map": {n: files[i] for i in (0, 1) for n in shards[i]}}
    tokenizer = {"added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}
    config = {"bos_token": "a", "chat_template": "{{ messages }}",
              "added_tokens_decoder": {"3": {"content": "<s>", "special": True}}}
    beside = [tokenizer, config, {"eos_token_id": 1}, "{{ x }}", {"<t>": 4}, {"unk_token": "b"}, {"chat_template": "y"}]
    texts = [b if isinstance(b, str) else compact(b) for b in beside]
    heads = [header(s) for s in shards]
    put("hf_shards", "whole", parts(compact(LLAMA), compact(index), *heads, *texts))
    put("hf_shards", "no_index", parts(compact(LLAMA), "", *heads, compact(tokenizer)))
    put("hf_shards", "adapter", parts(compact(LLAMA), compact(index), *heads, "", "", "", "", "", "", "", "{}"))
    put("hf_shards", "one_missing", parts(compact(LLAMA), compact(index), heads[0]))
    twice = dict(shards[1], **{names[0]: shards[0][names[0]]})
    put("hf_shards", "twice", parts(compact(LLAMA), compact(index), heads[0], header(twice)))


def gguf_string(text):
    return struct.pack("<Q", len(text)) + text.encode()


def gguf(keys, tensors):
    """keys: name -> value (a text, or a u32, u16 as ("u16", n)); tensors: name -> shape, F32."""
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for key, value in keys.items():
        out += gguf_string(key)
        if isinstance(value, str):
            out += struct.pack("<I", 8) + gguf_string(value)
        elif isinstance(value, float):
            out += struct.pack("<If", 6, value)
        elif isinstance(value, tuple):
            out += struct.pack("<IH", 2, value[1])
        else:
            out += struct.pack("<II", 4, value)
    at = 0
    for name, shape in tensors.items():
        size = 4
        for n in shape:
            size *= n
        out += gguf_string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape[::-1])
        out += struct.pack("<IQ", 0, at)
        at += -(-size // 32) * 32
    return out + bytes(-len(out) % 32 + at)


def gguf_splits():
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
             "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
             "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    tensors = {}
    for name, shape in LLAMA_TENSORS.items():
        stem = name.removesuffix(".weight")
        inner = stem.removeprefix("model.layers.0.")
        tensors[("blk.0." if inner != stem else "") + names[inner] + ".weight"] = shape
    keys = {"general.architecture": "llama", "llama.block_count": 1, "llama.embedding_length": 4,
            "llama.feed_forward_length": 6, "llama.attention.head_count": 2, "llama.attention.head_count_kv": 1,
            "llama.context_length": 64, "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.vocab_size": 5}

    def split(name, count, tell=len(tensors)):
        files, each = [], -(-len(tensors) // count)
        for i in range(count):
            own = dict(list(tensors.items())[i * each : (i + 1) * each])
            said = {"split.no": ("u16", i), "split.count": ("u16", count), "split.tensors.count": tell}
            files.append(gguf({**(keys if i == 0 else {}), **said}, own))
        put("gguf_split", name, parts(*files))

    split("two", 2)
    split("three", 3)
    split("other_count", 2, tell=3)


def moeq_shards():
    names = list(LLAMA_TENSORS)
    config = compact(LLAMA).encode()
    shards = [{n: ("BF16", LLAMA_TENSORS[n]) for n in half} for half in (names[:6], names[6:])]
    files = [f"m-0000{i}-of-00002.moeq" for i in (1, 2)]
    levels = {n: "bf16" for n in names}
    packed = zlib.compress(config)
    shards[1]["moeq.config.json"] = ("U8", [len(packed)])
    metadata = [{"format": "moeq", "moeq.version": "1", "moeq.producer": "moeq", "moeq.family": "llama",
                 "moeq.shard": f"{i + 1} of 2", "moeq.levels": compact({n: levels[n] for n in shards[i] if n in levels})}
                for i in (0, 1)]
    # the side file first, so that the data of the other tensors can be left out
    shards[1] = {"moeq.config.json": shards[1].pop("moeq.config.json"), **shards[1]}
    heads = [header(summed(s), m) for s, m in zip(shards, metadata)]
    index = {"metadata": {"format": "moeq", "moeq.version": "1",
                          "moeq.shards": [{"name": f, "bytes": f"@{i + 1}", "crc32": "########"}
                                          for i, f in enumerate(files)],
                          "total_size": sum(2 * (s[0] if len(s) == 1 else s[0] * s[1])
                                            for s in LLAMA_TENSORS.values()) + len(packed)},
             "weight_map": {n: files[i] for i in (0, 1) for n in shards[i]}}
    text = compact(index).replace('"@1"', "@1").replace('"@2"', "@2")
    for name, flags in (("sound", 1), ("unmended", 0)):
        put("moeq_shards", name, parts(bytes([flags]), text, heads[0], b"", heads[1], packed))


# ---- what an interrupted conversion leaves ----

def journals():
    first = "moeq-journal 3 01234567\n"

    def line(kind, item, chunk=0, value=0, lost=0x3f000000, weights=0x3f800000):
        return f"{kind} {item:08x} {chunk:08x} {value:08x} {lost:08x} {weights:08x} 00000000\n"

    whole = "".join(line("t", i, value=i) for i in range(12))
    put("journal", "chunks", "\1" + first + line("c", 0, 0, 5) + line("c", 0, 1, 6) + line("x", 0) + line("c", 0, 2) +
        line("v", 0) + line("c", 0, 9))
    put("journal", "whole", "\1" + first + whole + line("s", 0, 1, 7) + line("v", 3) + line("x", 4) + line("t", 4))
    put("journal", "torn", "\1" + first + line("t", 0)[:-3])
    put("journal", "unmended", "\0" + first + line("t", 0))
    put("journal", "other_plan", "\1" + first.replace("7", "8"))


def kept_states():
    numbers = [1, 0x1234, 3, 1, 10, 20, 30, 40, 32, 0, 0, 0]
    sound = b"moeqstat" + struct.pack("<12Q", *numbers) + bytes(range(32))
    put("kept_states", "sound", b"\1" + sound)
    put("kept_states", "unmended", b"\0" + sound)
    put("kept_states", "cut", b"\1" + sound[:-1])


# ---- results ----

EXACT = ("nll_nats", "perplexity")  # one is the other's logarithm


def shorter(value, key="", digits=3):
    """Lists of one entry or two, numbers of three digits, short texts."""
    if isinstance(value, dict):
        return {k: shorter(v, k, 17 if k in EXACT else digits) for k, v in value.items() if k not in ("run", "producer")}
    if isinstance(value, list):
        return [shorter(v, key, digits) for v in value[: 3 if key == "rows" else 2 if key == "models" else 1]]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    return value[:60] if isinstance(value, str) else value


def results(moeq):
    holder = tempfile.TemporaryDirectory()
    work = pathlib.Path(holder.name)

    def run(*args):
        done = subprocess.run([moeq, *map(str, args), "--json", "-q"], cwd=ROOT, capture_output=True, check=False)
        if done.returncode not in (0, 3):
            sys.exit(done.stderr.decode())
        return shorter(json.loads(done.stdout.decode().replace(f"{work}/", "")))

    model, text = "demo/model", ["--text", "code=demo/text.txt", "--text", "prose=LICENSE"]
    small = ["--tokens", "512", "--context", "128"]
    for level in ("q4_k", "q2_k"):
        subprocess.run([moeq, "convert", model, "-o", work / f"{level}.moeq", "--level", level, "-q"], cwd=ROOT, check=True)
    (work / "gate.json").write_text(compact({"moeq_gate": 1, "limits": {"kld.mean": {"max": 1e-6},
                                                                       "same_top": {"min": 0.1}}}))
    tasks = ["--tasks", "tests/fixtures/tasks/words.jsonl"]
    sweep = run("sweep", model, *text, *small, *tasks, "--levels", "q2_k", "--swap", "--noise-floor", "--vram", "24G")
    plain = run("sweep", model, "--text", "demo/text.txt", *small, "--levels", "q4_k")
    verify = run("verify", "--against", model, work / "q4_k.moeq", work / "q2_k.moeq", "--text", "demo/text.txt", *small,
                 "--gate", work / "gate.json")
    holder.cleanup()
    odd = json.loads(compact(plain).replace('"q4_k"', '"<zz>&\\"q4_k"'))
    odd["text"] = "<zz x='\"'>"
    put("report", "sweep", parts(compact(sweep)))
    put("report", "verify", parts(compact(verify)))
    put("report", "joined", parts(compact(odd), compact(plain)))
    put("report", "infinite", parts('{"moeq_result":"sweep","rows":[{"name":"s","is_baseline":true,"perplexity":1e999}]}'))
    put("report", "failed", parts(compact({"moeq_result": "verify", "error": {"message": "x"}})))


def quality():
    def row(name, number, kld):
        return {"name": name, "is_baseline": False, "weight_bytes": number, "kld_nats": {"mean": {"value": kld, "se": 0.1}},
                "ppl_ratio": {"value": 1.01, "se": 0}, "routing": {"overall": {"exact_set_rate": {"value": 0.9, "se": 0}}}}

    model = {"family": "mixtral", "layers": 1, "experts": 2, "vocabulary": 64}
    rows = [{"name": "source", "is_baseline": True, "weight_bytes": QUALITY_BYTES["bf16"]},
            row("q8_0", QUALITY_BYTES["q8_0"], 0.001), row("q4_k", QUALITY_BYTES["q4_k"], 0.02)]
    put("quality", "sound", compact({"moeq_result": "sweep", "model": model, "rows": rows}))
    text = compact({"moeq_result": "sweep", "model": model, "rows": rows})
    put("quality", "infinite", text.replace('"value":0.001', '"value":1e999'))
    rows[1]["kld_nats"]["mean"]["value"] = -1
    put("quality", "negative", compact({"moeq_result": "sweep", "model": model, "rows": rows}))


# Of the model in fuzz_quality.c: weights times bytes of a block by its weights; norms and router bf16.
MATRICES = {"experts": 2 * 3 * 256 * 256, "attention": 2 * 256 * 256 + 2 * 128 * 256, "ends": 2 * 64 * 256}
SMALL = 2 * (3 * 256 + 2 * 256)
QUALITY_BYTES = {
    "bf16": 2 * sum(MATRICES.values()) + SMALL,
    "q8_0": sum(MATRICES.values()) * 34 // 32 + SMALL,
    "q4_k": MATRICES["experts"] * 144 // 256 + (MATRICES["attention"] + MATRICES["ends"]) * 34 // 32 + SMALL,
}


def main():
    for make in (recordings, ids_files, gates, text_lines, chats, samples, hf_shards, gguf_splits, moeq_shards, journals, kept_states,
                 quality):
        make()
    results(pathlib.Path(sys.argv[1]).resolve())


if __name__ == "__main__":
    main()
