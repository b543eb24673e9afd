## trees.nim - Nim with --mm:boehm, which loads libgc.so.1 while it runs: trees, strings, tables.
import std/[tables, strutils]

type Node = ref object
  left, right: Node

proc make(depth: int): Node =
  if depth <= 0: Node() else: Node(left: make(depth - 1), right: make(depth - 1))

proc count(node: Node): int =
  if node == nil: 0 else: 1 + count(node.left) + count(node.right)

let kept = make(17)
var sum = 0
for i in 0 ..< 300: sum += count(make(13))
echo "trees ", sum

var words: Table[string, seq[int]]
for i in 0 ..< 300_000: words.mgetOrPut("w" & $(i * 7919 mod 5003), @[]).add(i)
var total = 0
for word, places in words: total += word.len * places.len
echo "words ", words.len, " ", total, " ", repeat("ab", 1000).len
echo "kept ", count(kept)
