// Objects, maps, buffers and JSON; prints a digest of all it made.
const crypto = require('crypto')
const zlib = require('zlib')
const scale = Number(process.argv[2] || 4)
let state = 7
const random = n => (state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) % n
const digest = crypto.createHash('sha256')
for (let round = 0; round < scale; round++) {
  const byCity = new Map()
  for (let i = 0; i < 30000; i++) {
    const person = { id: i, name: 'name-' + random(5000), city: 'city-' + random(97), tags: [random(9), random(9)] }
    if (!byCity.has(person.city)) byCity.set(person.city, [])
    byCity.get(person.city).push(person)
  }
  const text = JSON.stringify([...byCity.entries()].sort((a, b) => (a[0] < b[0] ? -1 : 1)))
  const chunks = []
  for (let i = 0; i < 2000; i++) chunks.push(Buffer.alloc(100 + random(8000), i & 255))
  const packed = zlib.deflateSync(Buffer.concat([Buffer.from(text), ...chunks]))
  digest.update(String(JSON.parse(text).length)).update(zlib.inflateSync(packed))
}
console.log(digest.digest('hex'))
