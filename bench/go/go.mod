module mallocgc.invalid/bench

go 1.19
