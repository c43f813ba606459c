#!/usr/bin/env python3
"""What a job takes on N nodes, predicted from measured rates: time, bytes read and sent, balance.

    cluster_model.py MODEL [--moeq build/moeq] [--nodes 1,4,16] [--command eval|sweep|record|convert] [rates]

MODEL is what `moeq inspect` opens: a folder, or a config.json alone. Its tensors are dealt as moeq-mpi does it
(runtime/pipeline.h): layers to the stages of a pipeline, batches of windows through them. A stage's batch costs the
longest of its multiply-adds and decoding, of reading what is not in memory, and of what it sends; a batch begins
where both the stage before it and the batch before it are done. Nothing here is fitted: rates are measured
(`./bench.sh` prints them), the rest is counted.

--loads sweep.json: recorded expert loads (of `moeq sweep --json`). They tell which share of the experts a batch meets,
and what dealing experts to ranks instead of layers would send and how even that would be.
"""
import argparse
import json
import math
import subprocess

# Multiply-adds, as runtime/evaluation_parts.c has them: of a weight that is decoded and packed; encoded; read from a store
# that serves all; read again for each batch; of a logit that is judged.
PACK, ENCODE, READ, READ_AGAIN, JUDGE = 16, 300, 100, 500, 16
NEARLY = 1.5  # as runtime/pipeline.c has it: a division that takes so much longer and reads less is taken


def inspect(moeq, model):
    text = subprocess.run([moeq, "inspect", model, "--tensors", "--json"], check=True, capture_output=True,
                          text=True).stdout
    return json.loads(text)


class Unit:
    """A layer, or the head: its weights, bytes, experts, and multiply-adds of one token."""

    def __init__(self):
        self.weights = self.bytes = self.expert_weights = self.expert_bytes = 0
        self.dense = self.routed = 0.0

    def macs(self):
        return self.dense + self.routed


def units_of(model, context, scored):
    layers, experts, top_k = model["layers"], max(model["experts"], 1), model["experts_per_token"]
    units = [Unit() for _ in range(layers + 1)]
    for t in model["tensors"]:
        weights = t["rows"] * t["cols"]
        if t["rows"] == 1:
            continue
        is_head = t["role"] == "head" or (t["role"] == "embedding" and model["tied_head"])
        if t["layer"] < 0 and not is_head:
            continue
        u = units[layers if is_head else t["layer"]]
        u.weights += weights
        u.bytes += t["bytes"]
        if t["expert"] >= 0:
            u.expert_weights += weights
            u.expert_bytes += t["bytes"]
            u.routed += weights * top_k / experts
        else:
            u.dense += weights * (scored if is_head else 1) + (t["rows"] * JUDGE * scored if is_head else 0)
    for u in units[:-1]:
        u.dense += model["heads"] * model["head_dim"] * context
    return units


class Division:
    """Layers dealt to stages, windows to pipelines, batches: what runtime/pipeline.c decides."""

    def __init__(self, units, ranks, windows, context, arms, encoding, memory, pipelines=None, batch=None):
        self.units, self.windows, self.context, self.arms, self.encoding = units, windows, context, arms, encoding
        self.wanted = max(1, batch // context) if batch else None
        self.cold = sum(u.bytes for u in units) / min(ranks, len(units) - 1) > memory
        tried = []
        for stages in range(1, min(ranks, len(units)) + 1):
            count = min(min(pipelines, ranks) if pipelines else ranks // stages, windows)
            if count * stages <= ranks:
                tried.append(self.best_batch(stages, count))
        least = min(t[0] for t in tried)
        best = None
        for t in tried:
            if t[0] <= NEARLY * least and (not best or (t[4], t[0]) < (best[4], best[0])):
                best = t
        _, self.step, self.begins, self.pipelines, _ = best

    def costs(self, step, batches):
        each = []
        for u in self.units:
            batch = u.weights * (PACK * self.arms + (READ_AGAIN if self.cold else 0))
            each.append(ENCODE * u.weights * self.encoding / batches + batch + u.macs() * step * self.context * self.arms)
        return each

    @staticmethod
    def deal(cost, stages):
        """Contiguous shares with the least greatest cost: [begin] of each and the end; that cost."""

        def cut(limit):
            begins, load, most = [0], 0.0, 0.0
            for i, c in enumerate(cost):
                if load + c > limit and i > begins[-1]:
                    begins.append(i)
                    load = 0.0
                load += c
                most = max(most, load)
            return begins, most

        low, high = 0.0, sum(cost)
        for _ in range(48):
            middle = (low + high) / 2
            begins, most = cut(middle)
            if len(begins) <= stages:
                high = min(most, middle) if most <= middle else middle
            else:
                low = middle
        begins, most = cut(high)
        return begins + [len(cost)], most

    def best_batch(self, stages, pipelines):
        """(time in multiply-adds, windows of a batch, begins, pipelines, share read) of the best number of batches."""
        own = -(-self.windows // pipelines)
        best, batches = None, 1
        while batches <= own:
            step = min(own, self.wanted) if self.wanted else -(-own // batches)
            number = -(-own // step)
            begins, most = self.deal(self.costs(step, number), stages)
            t = READ * pipelines * sum(u.weights for u in self.units) + (number + len(begins) - 2) * most
            if best is None or t < best[0]:
                best = (t, step, begins, pipelines, (number if self.cold else 1) / (len(begins) - 1))
            if self.wanted:
                break
            batches = max(batches + 1, batches * 5 // 4)
        return best


def touched(share_of_experts, tokens):
    """Share of a layer's experts that some of so many tokens meet."""
    if not share_of_experts:
        return 1.0
    return sum(1 - (1 - min(1, p)) ** tokens for p in share_of_experts) / len(share_of_experts)


def recorded_loads(path, top_k):
    """Chance of each expert that a token chooses it, mean over layers sorted by load; None: not known."""
    if not path:
        return None
    with open(path) as f:
        rows = json.load(f)["rows"]
    layers = next(r["routing"]["layers"] for r in rows if "routing" in r)
    loads = [sorted((x * top_k for x in l["base_load"]), reverse=True) for l in layers]
    return [sum(c) / len(loads) for c in zip(*loads)]


def evaluate(model, a, nodes):
    units = units_of(model, a.context, 0.5 if a.protocol == "half" else 1.0)
    arms = 1 + a.arms
    tokens = max(a.tokens // a.context, 1) * a.context
    hidden = model["hidden"]
    loads = recorded_loads(a.loads, model["experts_per_token"])
    division = Division(units, nodes, tokens // a.context, a.context, arms, a.arms, a.memory * 2**30, a.pipelines, a.batch)
    pipelines, begins, batch = division.pipelines, division.begins, division.step * a.context
    stages = len(begins) - 1
    own = -(-tokens // pipelines)  # tokens of a pipeline
    batches = [min(batch, own - i) for i in range(0, own, batch)]

    macs_rate, decode_rate = a.gflops * 1e9 / 2, a.decode * 1e9
    works, reads, sends = [], [], []
    for s in range(stages):
        share = units[begins[s]:begins[s + 1]]
        weights, size = sum(u.weights for u in share), sum(u.bytes for u in share)
        fits = size <= a.memory * 2**30
        work, read = [], []
        for i, n in enumerate(batches):
            met = touched(loads, n)
            meets = sum(u.weights - u.expert_weights * (1 - met) for u in share)
            disk = size - sum(u.expert_bytes for u in share) * (1 - met)
            compute = sum(u.macs() for u in share) * n * arms / macs_rate + meets * arms / decode_rate
            if i == 0:
                compute += weights * a.arms / (a.encode * 1e6)
            fresh = disk if i == 0 or not fits else 0
            work.append(max(compute, fresh / (a.disk * 1e9)))
            read.append(fresh)
        works.append(work)
        reads.append(sum(read))
        sends.append(4 * hidden * arms * own if s + 1 < stages else 0)
    ends, sending = [0.0] * len(batches), 0.0
    busy = 0.0
    for s in range(stages):
        now = 0.0
        for i, n in enumerate(batches):
            now = max(now, ends[i] + (4 * hidden * arms * n / (a.net * 1e9) if s else 0)) + works[s][i]
            ends[i] = now
        busy += sum(works[s])
    seconds = max(max(ends), busy * pipelines / min(a.host_cores, pipelines * stages) if a.host_cores else 0)
    result = {
        "nodes": nodes, "pipelines": pipelines, "stages": stages, "batch_tokens": batch, "batches": len(batches),
        "seconds": seconds, "share_busy": busy / (stages * max(ends)),
        "balance": max(sum(w) for w in works) / (busy / stages),
        "read_bytes_most": max(reads), "read_bytes_all": sum(reads) * pipelines,
        "sent_bytes_most": max(sends), "sent_bytes_all": sum(sends) * pipelines,
    }
    # the other division: a layer's experts dealt to all ranks; each token's state goes to its experts and back
    away = (nodes - 1) / nodes
    result["sent_bytes_by_experts"] = 8 * hidden * arms * tokens * away * sum(
        model["experts_per_token"] for u in units if u.routed)
    if loads:
        each = [sum(loads[r::nodes]) for r in range(nodes)]
        result["balance_by_experts"] = max(each) / (sum(each) / nodes)
    return result


def convert(model, a, nodes):
    """Ranges of rows: each node reads, encodes and writes its part, the slowest of the three at a time."""
    weights = sum(t["rows"] * t["cols"] for t in model["tensors"])
    read = model["sizes"]["source_bytes"]
    written = weights * a.bits / 8
    seconds = max(weights / (a.encode * 1e6), read / (a.disk * 1e9), written / (a.disk * 1e9),
                  (read + written) / (a.shared_disk * 1e9) * nodes if a.shared_disk else 0) / nodes
    return {"nodes": nodes, "seconds": seconds, "read_bytes_most": read / nodes, "read_bytes_all": read,
            "written_bytes_most": written / nodes, "sent_bytes_most": 0, "share_busy": 1.0, "balance": 1.0}


def words(seconds):
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--moeq", default="build/moeq")
    p.add_argument("--command", choices=["eval", "record", "sweep", "convert"], default="sweep")
    p.add_argument("--nodes", default="1,4,16")
    p.add_argument("--tokens", type=int, default=65536)
    p.add_argument("--context", type=int, default=512)
    p.add_argument("--protocol", choices=["half", "full"], default="half")
    p.add_argument("--arms", type=int, help="levels that are quantized on the fly (sweep: 3)")
    p.add_argument("--bits", type=float, default=4.6, help="of a converted weight")
    p.add_argument("--batch", type=int, help="tokens; default: moeq-mpi's")
    p.add_argument("--pipelines", type=int, help="default: moeq-mpi's")
    p.add_argument("--gflops", type=float, default=1300, help="of a node, f32 products")
    p.add_argument("--decode", type=float, default=40, help="of a node, Gweights/s decoded and packed")
    p.add_argument("--encode", type=float, default=4000, help="of a node, Mweights/s")
    p.add_argument("--disk", type=float, default=2, help="of a node, GB/s read")
    p.add_argument("--shared-disk", type=float, help="of all nodes together, GB/s")
    p.add_argument("--net", type=float, default=1.2, help="of a node, GB/s")
    p.add_argument("--memory", type=float, default=192, help="of a node for weights, GiB")
    p.add_argument("--host-cores", type=int, help="all ranks, of one thread each, share so many cores of one machine")
    p.add_argument("--loads", help="sweep.json")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    a.arms = a.arms if a.arms is not None else 3 if a.command == "sweep" else 0
    model = inspect(a.moeq, a.model)
    run = convert if a.command == "convert" else evaluate
    results = [run(model, a, int(n)) for n in a.nodes.split(",")]
    if a.json:
        print(json.dumps(results, indent=1))
        return
    print(f"{'nodes':>5} {'pipelines x stages':>18} {'time':>9} {'busy':>6} {'read a rank':>12} {'sent a rank':>12}")
    for r in results:
        cut = f"{r['pipelines']} x {r['stages']}" if "stages" in r else "-"
        print(f"{r['nodes']:>5} {cut:>18} {words(r['seconds']):>9} {100 * r['share_busy']:>4.0f} % "
              f"{r['read_bytes_most'] / 1e9:>9.1f} GB {r['sent_bytes_most'] / 1e9:>9.2f} GB")


if __name__ == "__main__":
    main()
