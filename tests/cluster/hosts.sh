#!/bin/bash
# Ranks on several hosts: network namespaces of this machine, which share nothing but its files (MOEQ_TEST_ALL=1, root). The
# same results; and when a host is cut off or a rank killed, an end within 30 s everywhere, and the same bytes afterwards.
. "$(dirname "$0")/helper.sh"
[ -n "${MOEQ_TEST_ALL:-}" ] || { echo "skipped: hosts in network namespaces (MOEQ_TEST_ALL=1)"; exit 77; }
optimized_judges "the instants"
case $("$mpirun" --version) in *"Open MPI"* | *OpenRTE*) ;; *) echo "skipped: hosts in network namespaces need Open MPI's agents"; exit 77 ;; esac
hosts="1 2 3" name=moeq$$ # host N is namespace moeqPID-N; their switch is moeqPID-0
[ "$(id -u)" = 0 ] && ip netns add $name-0 2> /dev/null || { echo "skipped: hosts need root and network namespaces"; exit 77; }

clean_up() {
    local n
    for n in $hosts 0; do
        ip netns pids $name-"$n" 2> /dev/null | xargs -r kill -KILL
        ip netns del $name-"$n" 2> /dev/null
    done
}
trap clean_up EXIT
ip -n $name-0 link add switch type bridge || { echo "skipped: hosts need bridges and veth"; exit 77; }
ip -n $name-0 link set switch up
for n in $hosts; do
    ip netns add $name-"$n"
    ip -n $name-0 link add port"$n" type veth peer name eth0 netns $name-"$n"
    ip -n $name-0 link set port"$n" master switch up
    ip -n $name-"$n" address add 10.99.0."$n"/24 dev eth0
    ip -n $name-"$n" link set eth0 up
    ip -n $name-"$n" link set lo up
done
# Host N is 10.99.0.N, and calls itself hostN.
cat > "$work/agent" << AGENT
#!/bin/sh
n=\${1##*.}
shift
exec ip netns exec $name-\$n unshare --uts sh -c 'hostname host'\$n'; exec sh -c "\$0"' "\$*"
AGENT
chmod +x "$work/agent"
for n in $hosts; do echo "10.99.0.$n slots=4"; done > "$work/hosts"
launch=("$work/agent" 10.99.0.1 exec "$mpirun" --allow-run-as-root --oversubscribe --bind-to none --map-by node
    --hostfile "$work/hosts" --mca plm_rsh_agent "$work/agent" --mca btl tcp,self --mca pml ob1
    --mca btl_tcp_if_include eth0 --mca oob_tcp_if_include eth0
    --mca oob_tcp_keepalive_time 5 --mca oob_tcp_keepalive_intvl 2 --mca oob_tcp_keepalive_probes 3 -x MOEQ_ISA)
export MOEQ_ISA=generic

# cut HOST, join HOST: it hears nobody; it does again.
cut() { ip -n $name-0 link set port"$1" down; }
join() {
    ip -n $name-0 link set port"$1" up
    sleep 3 # what hosts know of addresses that did not answer is forgotten
}

# processes HOST: moeq-mpi's.
processes() {
    local pid
    for pid in $(ip netns pids $name-"$1"); do
        [ "$(readlink /proc/"$pid"/exe)" != "$moeq_mpi" ] || echo "$pid"
    done
}

# gone: of every host within $seconds, $took of which are over.
gone() {
    local n
    while [ $took -le $seconds ]; do
        [ -n "$(for n in $hosts; do processes "$n"; done)" ] || return 0
        sleep 1
        took=$((took + 1))
    done
    fail "$what: ranks live on: $(for n in $hosts; do processes "$n"; done)"
    for n in $hosts; do processes "$n" | xargs -r kill -KILL; done
}

slow_model "$work/model"
seconds=30
out=$work/m.moeq
text=(--text demo/text.txt --context 64)
convert=(convert "$work/model" -o "$out" --level q4_k --threads 1 -q)
sweep=(sweep $model "${text[@]}" --tokens 320 --levels q3_k --json)
alone "${convert[@]}"
mv "$out" "$work/whole.moeq"
alone "${sweep[@]}" > "$work/alone.json"

for n in 2 3 5; do
    ranks $n "${sweep[@]}" > "$work/ranks.json"
    cmp "$work/alone.json" "$work/ranks.json" || fail "$n ranks: other figures"
    ranks $n "${convert[@]}"
    cmp "$out" "$work/whole.moeq" || fail "$n ranks: other bytes"
    rm -f "$out"
done
alone calibrate $model "${text[@]}" --tokens 320 -o "$work/alone.cal" -q
ranks 3 calibrate $model "${text[@]}" --tokens 320 -o "$work/ranks.cal" -q
cmp "$work/alone.cal" "$work/ranks.cal" || fail "calibrate: other bytes"

# goes_on N
goes_on() {
    ranks "$1" "${convert[@]}"
    cmp "$out" "$work/whole.moeq" || fail "$what: other bytes when $1 ranks went on"
    rm -f "$out"
}
for host in 2 1; do
    what="convert, host $host cut off"
    start 3 "${convert[@]}"
    at_work "$out" && cut $host
    ended
    gone
    join $host
    goes_on 2
    what="convert, a rank of host $host killed"
    start 3 "${convert[@]}"
    at_work "$out" && processes $host | xargs -r kill -KILL
    ended
    gone
    goes_on 3
done
out=
for host in 3 1; do
    what="sweep, host $host cut off"
    start 3 sweep $model "${text[@]}" --levels iq2_xs,iq3_s --effort best --threads 1 -q
    sleep 4
    cut $host
    ended
    gone
    join $host
done
ranks 3 "${sweep[@]}" > "$work/ranks.json"
cmp "$work/alone.json" "$work/ranks.json" || fail "afterwards: other figures"
finish
