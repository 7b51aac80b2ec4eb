// Keys that are lent out: what they may do, for how long, and what takes them back.
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import t from 'tap'
import { adminKeys, type Door, forge, knock, openDoor } from './door.ts'

const HOUR_MS = 60 * 60 * 1000

interface Lent {
  id: string
  privateKey: KeyObject
  until: string
}

function newPair(): { privateKey: KeyObject; publicKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const raw = Buffer.from(String(publicKey.export({ format: 'jwk' }).x), 'base64url')
  return {
    privateKey: createPrivateKey(privateKey.export({ format: 'pem', type: 'pkcs8' })),
    publicKey: raw.toString('base64'),
  }
}

type By = { keyid: string; key?: KeyObject; nowS?: number }

function signedBy({ keyid, key, nowS }: By, more: Parameters<typeof forge>[1] = {}) {
  const params = nowS === undefined ? {} : { created: nowS, expires: nowS + 60 }
  return { keyid, ...(key && { key }), params, ...more }
}

async function lend(door: Door, by: By): Promise<Lent> {
  const { privateKey, publicKey } = newPair()
  const body = JSON.stringify({ public_key: publicKey })
  const { status, json } = await knock(
    door.port,
    forge(door, signedBy(by, { method: 'POST', target: '/v1/keys/ephemeral', body })),
  )
  if (status !== 200) throw new Error(JSON.stringify(json))
  const { id, until } = json.key as { id: string; until: string }
  return { id, privateKey, until }
}

const read = async (door: Door, by: By, target = '/v1/services') =>
  knock(door.port, forge(door, signedBy(by, { target })))
const as = ({ id, privateKey }: Lent): By => ({ keyid: id, key: privateKey })

t.test('a lent key reads, says whose it is, and does nothing else', async (t) => {
  const door = await openDoor(t)
  const lent = await lend(door, { keyid: 'ops' })
  t.match(lent.id, /^ops~/)
  t.equal((await read(door, as(lent))).status, 200)
  t.match((await read(door, as(lent), '/v1/key')).json, {
    key: { id: lent.id, algorithm: 'ed25519', allow: ['read'], until: lent.until },
  })
  for (const action of ['stage', 'promote', 'rollback', 'deploy', 'pause', 'resume']) {
    const body = action === 'stage' || action === 'deploy' ? '{"release":"r42"}' : '{}'
    const target = `/v1/services/invoices/${action}`
    const answer = await knock(door.port, forge(door, signedBy(as(lent), { method: 'POST', target, body })))
    t.match(answer, { status: 403, json: { code: 'not_allowed', key_id: lent.id } }, action)
  }
  t.same(
    door.calls.map(({ call }) => call),
    ['statuses'],
  )
  t.match(door.audit[0], { decision: 'accepted', action: 'lend_key', key_id: 'ops' })
  t.match(door.audit[1], { decision: 'accepted', action: 'services', key_id: lent.id })
})

t.test('it is over after an hour', async (t) => {
  let nowMs = Date.now()
  const door = await openDoor(t, { now: () => nowMs })
  const lent = await lend(door, { keyid: 'viewer' })
  t.equal(Date.parse(lent.until), nowMs + HOUR_MS)
  nowMs += HOUR_MS - 1
  t.equal((await read(door, { ...as(lent), nowS: Math.floor(nowMs / 1000) })).status, 200)
  nowMs += 1
  t.equal((await read(door, { ...as(lent), nowS: Math.floor(nowMs / 1000) })).status, 401)
})

t.test('who lends it on gives it away, for no longer', async (t) => {
  let nowMs = Date.now()
  const door = await openDoor(t, { now: () => nowMs })
  const first = await lend(door, { keyid: 'ops' })
  nowMs += HOUR_MS / 2
  const nowS = Math.floor(nowMs / 1000)
  const second = await lend(door, { ...as(first), nowS })
  t.match(second.id, /^ops~[^~]+$/)
  t.equal(second.until, first.until)
  t.equal((await read(door, { ...as(first), nowS })).status, 401)
  t.equal((await read(door, { ...as(second), nowS })).status, 200)
})

t.test('it goes with the key that lent it, and stays where other keys change', async (t) => {
  const door = await openDoor(t)
  const ofOps = await lend(door, { keyid: 'ops' })
  const ofViewer = await lend(door, { keyid: 'viewer' })
  door.admin.setKeys(
    adminKeys.map((key) =>
      key.id === 'viewer' ? { ...key, allow: ['read', 'stage'] as const } : { ...key },
    ),
  )
  t.equal((await read(door, as(ofOps))).status, 200)
  t.equal((await read(door, as(ofViewer))).status, 401)
  door.admin.setKeys(adminKeys.filter(({ id }) => id !== 'ops'))
  t.equal((await read(door, as(ofOps))).status, 401)
})

t.test('the oldest is taken back where there are more than 64', async (t) => {
  const door = await openDoor(t)
  const lent: Lent[] = []
  for (let i = 0; i < 65; i++) lent.push(await lend(door, { keyid: 'ops' }))
  const [oldest, second] = lent
  if (!oldest || !second) throw new Error('none were lent')
  t.equal((await read(door, as(oldest))).status, 401)
  t.equal((await read(door, as(second))).status, 200)
})

t.test('nothing but a sound public key is lent, and only by who may read', async (t) => {
  const door = await openDoor(t, {
    keys: adminKeys.map((key) => (key.id === 'stager' ? { ...key, allow: ['stage'] as const } : key)),
  })
  const post = (publicKey: string, keyid = 'ops') => {
    const body = JSON.stringify({ public_key: publicKey })
    return knock(door.port, forge(door, { method: 'POST', target: '/v1/keys/ephemeral', body, keyid }))
  }
  const bad = ['', 'ops', Buffer.alloc(31).toString('base64'), Buffer.alloc(32).toString('base64')]
  for (const text of bad) {
    const { status, json } = await post(text)
    t.match({ status, json }, { status: 400, json: { code: 'body_invalid', field: 'public_key' } }, text)
  }
  t.equal((await post(newPair().publicKey, 'stager')).status, 403)
})
