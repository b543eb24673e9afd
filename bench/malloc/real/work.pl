# Hashes, arrays, regular expressions and sorting; prints sums of all it made.
use strict;
use warnings;
my $scale = shift // 4;
my $state = 11;
sub random { $state = ($state * 1103515245 + 12345) % 2147483648; return $state % $_[0] }
my ($sum, $long) = (0, "");
for my $round (1 .. $scale) {
    my (%count, %index, @lines);
    for my $i (1 .. 30000) {
        my $line = join " ", map { "w" . random(3000) } 1 .. 1 + random(8);
        push @lines, $line;
        $count{$_}++ for split / /, $line;
        push @{ $index{substr $line, 0, 3} }, $i;
    }
    my $text = join "\n", sort @lines;
    $sum += () = $text =~ /\bw1\d+ w2/g;
    (my $upper = $text) =~ s/w(\d+)/W<$1>/g;
    $sum += length($upper) + scalar(keys %count) + scalar(map { @$_ } values %index);
    $long = (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0];
}
print "$sum $long\n";
