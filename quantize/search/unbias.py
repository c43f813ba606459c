#!/usr/bin/env python3
"""Measures MQ_UNBIAS (search_int.h): the KL divergence of a quantized model's output, and the error of
its weights, by how much of the shrinkage of least-squares scales is made good.

    quantize/search/unbias.py [--model FOLDER] [--text FILE] [LEVEL...]     default: all k-quants, the demo

It builds moeq once for each value, in build/search, which takes a few minutes. Only experts are
quantized; all predictions of windows of 512 tokens are scored.
"""
import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARES = ("0.0", "0.5", "0.75", "1.0", "1.25")


def build(share):
    folder = ROOT / "build" / "search"
    subprocess.run(["cmake", "-S", ROOT, "-B", folder, "-DMOEQ_TESTS=OFF", "-DMOEQ_BENCH=OFF",
                    f"-DCMAKE_C_FLAGS=-DMQ_UNBIAS={share}f"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder, "--target", "moeq", "--parallel"], check=True,
                   stdout=subprocess.DEVNULL)
    return folder / "moeq"


def sweep(program, arguments):
    output = subprocess.run(
        [program, "sweep", arguments.model, "--text", arguments.text, "--levels",
         ",".join(arguments.levels), "--attention", "bf16", "--embeddings", "bf16",
         "--protocol", "full", "--context", "512", "--json", "-q"],
        check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "demo" / "model")
    parser.add_argument("--text", type=pathlib.Path, default=ROOT / "demo" / "text.txt")
    parser.add_argument("levels", nargs="*", metavar="LEVEL",
                        default=["q2_k", "q3_k", "q4_k", "q5_k", "q6_k"])
    arguments = parser.parse_args()
    print("MQ_UNBIAS  level   KL divergence ± se        relative RMSE of experts")
    for share in SHARES:
        for row in sweep(build(share), arguments)["rows"]:
            if not row["is_baseline"]:
                kld = row["kld_nats"]["mean"]
                print(f"{share:<10} {row['name']:<6} {kld['value']:.6f} ± {kld['se']:.6f}      "
                      f"{row['expert_relative_rmse']:.5f}", flush=True)


if __name__ == "__main__":
    main()
