# fibers.cr - Crystal: fibers (stacks of their own, switched by hand) that allocate and pass messages
# while a large tree stays alive; strings, hashes, finalizers.   usage: crystal build fibers.cr
class Tree
  getter left : Tree?
  getter right : Tree?

  def initialize(depth : Int32)
    return if depth <= 0
    @left = Tree.new(depth - 1)
    @right = Tree.new(depth - 1)
  end

  def count : Int32
    1 + (@left.try(&.count) || 0) + (@right.try(&.count) || 0)
  end
end

class Counted
  class_property finalized = 0

  def finalize
    @@finalized += 1
  end
end

kept = Tree.new(16)
results = Channel({Int32, Int64}).new
8.times do |id|
  spawn do
    local = Array(String).new # only this fiber's stack leads to it
    sum = 0_i64
    300.times do |round|
      sum += Tree.new(9).count
      local << "fiber #{id} round #{round}"
      Fiber.yield
    end
    sum += local.join.size
    results.send({id, sum})
  end
end
puts (1..8).map { results.receive }.sort!
words = Hash(String, Int32).new(0)
300_000.times { |i| words["w#{i &* 7919 % 5003}"] += 1 }
puts "words #{words.size} #{words.values.sum}"
20_000.times { Counted.new }
3.times { Tree.new(10); GC.collect }
puts "finalizers ran: #{Counted.finalized > 10_000}"
puts "kept #{kept.count}"
