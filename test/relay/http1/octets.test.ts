// The tables of octets, each held against the grammar it stands for.
import t from 'tap'
import { HEX, TARGETS, TOKENS, UNDERSCORE, VALUES } from '../../../src/relay/http1/octets.ts'

const ALL = Array.from({ length: 256 }, (_, octet) => octet)
const signsOf = (octetsIn: number[]): string => String.fromCharCode(...octetsIn)

t.test('each table knows all octets', async (t) => {
  for (const table of [TOKENS, TARGETS, VALUES, HEX]) t.equal(table.length, 256)
})

t.test('a token has the signs of RFC 9110 §5.6.2', async (t) => {
  const signs = "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"
  t.equal(signsOf(ALL.filter((octet) => TOKENS[octet] !== 0)), signs)
  t.equal(signsOf(ALL.filter((octet) => ((TOKENS[octet] ?? 0) & UNDERSCORE) !== 0)), '_')
})

t.test('a target has visible ASCII but no hash', async (t) => {
  const others = ALL.filter((octet) => TARGETS[octet] !== 1)
  t.same(others, [...ALL.slice(0, 0x21), 0x23, ...ALL.slice(0x7f)])
})

t.test('a value has visible octets, spaces, tabs and what is beyond ASCII', async (t) => {
  const others = ALL.filter((octet) => VALUES[octet] !== 1)
  t.same(others, [...ALL.slice(0, 9), ...ALL.slice(10, 0x20), 0x7f])
})

t.test('hexadecimal digits have their values, and nothing else has one', async (t) => {
  for (const octet of ALL) {
    const at = '0123456789abcdef'.indexOf(signsOf([octet]).toLowerCase())
    t.equal(HEX[octet], at < 0 ? 16 : at, `octet ${octet}`)
  }
})
