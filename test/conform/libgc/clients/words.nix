# words.nix - the Nix evaluator: lazy trees, attribute sets, strings, sorting, JSON. `--arg scale N`: so much of all.
{ scale }:
let
  range = n: builtins.genList (i: i) n;
  sum = builtins.foldl' (a: b: a + b) 0;
  tree = depth: if depth <= 0 then { left = null; right = null; }
                else { left = tree (depth - 1); right = tree (depth - 1); };
  count = t: if t == null then 0 else 1 + count t.left + count t.right;
  words = map (i: "w${toString (i * 7919)}") (range (100000 * scale));
  attrs = builtins.listToAttrs (map (w: { name = w; value = builtins.stringLength w; }) words);
  json = builtins.toJSON (builtins.mapAttrs (name: value: [ value name ]) attrs);
  kept = map (i: tree 15) (range scale);
in [
  (sum (map count kept))
  (sum (map (i: count (tree 11)) (range (150 * scale))))
  (sum (builtins.attrValues attrs))
  (builtins.hashString "sha256" (builtins.concatStringsSep "," (builtins.sort (a: b: a < b) words)))
  (builtins.hashString "sha256" json)
  (builtins.length (builtins.attrNames (builtins.fromJSON json)))
  (sum (map count kept))
]
