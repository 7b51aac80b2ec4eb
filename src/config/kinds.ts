// How a table of keys is read from the document: maps, lists and the way every text value goes.
import { Document, isMap, isScalar, isSeq, type Node, type YAMLMap } from 'yaml'
import { Complaint } from './complaint.ts'
import { nearest } from './nearest.ts'
import { describeNode, type Reading, type Surroundings } from './reading.ts'

/** A kind of value, by the name it has in the docs: `duration`, `list of hosts`. */
export interface Kind<T> {
  name: string
  /** The keys of a map of known keys. */
  keys?: Keys
  /** What a map of names or a list holds. */
  each?: Kind<unknown>
  /** @returns the value; undefined once a problem has been noted */
  read(reading: Reading, key: string, node: Node | null): T | undefined
}

/** A default, written as in the file; `{}` stands for the defaults of the keys below. */
type Fallback = string | readonly string[] | Readonly<Record<string, never>>

/** One key of a map. */
export interface Key<T> {
  kind: Kind<T>
  /** undefined: the key must be given; null: it may be absent. */
  fallback: Fallback | null | undefined
  /** What it is for, in the words of the docs. */
  about: string
}

export type Keys = Readonly<Record<string, Key<unknown>>>

/** What reading yields: undefined where there is a problem, null for an absent optional key. */
export type Draft<K extends Keys> = {
  [Name in keyof K]: K[Name] extends Key<infer T> ? T | undefined : never
}

export const required = <T>(kind: Kind<T>, about: string): Key<T> => ({ kind, fallback: undefined, about })

export const optional = <T>(kind: Kind<T>, about: string): Key<T | null> => ({ kind, fallback: null, about })

export const defaulted = <T>(kind: Kind<T>, fallback: Fallback, about: string): Key<T> => ({
  kind,
  fallback,
  about,
})

/** A map that is read even when it is absent, for the defaults of the keys below it. */
export const nested = <T>(kind: Kind<T>, about: string): Key<T> => defaulted(kind, {}, about)

/** A value that is one text in the file. */
export const scalar = <T>(
  name: string,
  parse: (text: string, from: Surroundings) => T | Complaint,
): Kind<T> => ({
  name,
  read(reading, key, node) {
    if (!isScalar(node)) return reading.complain(key, `must be one text value; got ${describeNode(node)}`)
    const text = reading.expand(key, node)
    if (text === undefined) return
    const value = parse(text, reading.from)
    if (!(value instanceof Complaint)) return value
    reading.complain(key, `${value.sentence}; got ${describeNode(node)}`, value.hint)
  },
})

export const list = <T>(each: Kind<T>, { atLeast = 0 } = {}): Kind<T[]> => ({
  name: `list of ${each.name}`,
  each,
  read(reading, key, node) {
    if (!isSeq(node)) return reading.complain(key, `must be a list; got ${describeNode(node)}`)
    if (node.items.length < atLeast) return reading.complain(key, 'must not be empty')
    const values = node.items.map((item, index) => {
      const place = `${key}[${index}]`
      const entry = item as Node | null
      reading.place(place, offsetOf(entry))
      return each.read(reading, place, reading.resolve(place, entry))
    })
    return values.filter((value) => value !== undefined)
  },
})

/** A map of known keys. */
export const map = <K extends Keys>(keys: K): Kind<Draft<K>> => ({
  name: 'map',
  keys,
  read(reading, key, node) {
    const entries = entriesOf(reading, key, node)
    if (entries === undefined) return
    for (const name of entries.keys()) {
      if (!Object.hasOwn(keys, name)) complainUnknown(reading, join(key, name), name, Object.keys(keys))
    }
    const read = ([name, entry]: [string, Key<unknown>]) => [
      name,
      readKey(reading, join(key, name), entry, entries.get(name)),
    ]
    return Object.fromEntries(Object.entries(keys).map(read)) as Draft<K>
  },
})

/** A map of names that the operator chooses. */
export const named = <T>(
  each: Kind<T>,
  judgeName: (name: string) => Complaint | undefined,
): Kind<[name: string, value: T | undefined][]> => ({
  name: 'map of names',
  each,
  read(reading, key, node) {
    const entries = entriesOf(reading, key, node)
    return (
      entries &&
      [...entries].map(([name, value]) => {
        const full = join(key, name)
        const complaint = judgeName(name)
        if (complaint) reading.complain(full, complaint.sentence, complaint.hint)
        placeValue(reading, full, value)
        return [name, each.read(reading, full, value)]
      })
    )
  },
})

/** `off`, or what the kind takes. */
export const orOff = <T>(kind: Kind<T>): Kind<T | 'off'> => ({
  ...kind,
  name: `${kind.name} or off`,
  read: (reading, key, node) =>
    isScalar(node) && node.value === 'off' ? 'off' : kind.read(reading, key, node),
})

/** A part of a key as it is shown: in quotes where it could be taken for something else. */
const shown = (name: string): string => (/^[\w-]+$/.test(name) ? name : JSON.stringify(name))

const join = (key: string, name: string): string => (key === '' ? shown(name) : `${key}.${shown(name)}`)

const offsetOf = (node: unknown): number | undefined =>
  typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)
    ? node.range[0]
    : undefined

/** A text or a list is complained about where it stands, a map where its key does. */
function placeValue(reading: Reading, key: string, node: Node | null): void {
  if (!isMap(node)) reading.place(key, offsetOf(node))
}

/** Reads the entries of a map, placing each at its key. */
function entriesOf(reading: Reading, key: string, node: Node | null): Map<string, Node | null> | undefined {
  if (!isMap(node)) return reading.complain(key, `must be a map of keys; got ${describeNode(node)}`)
  const entries = new Map<string, Node | null>()
  for (const pair of (node as YAMLMap<unknown, Node | null>).items) {
    if (!isScalar(pair.key)) {
      reading.complain(key, 'has a key that is not a word')
      continue
    }
    const name = String(pair.key.value)
    const full = join(key, name)
    reading.place(full, offsetOf(pair.key))
    if (entries.has(name)) reading.complain(full, 'is given twice')
    entries.set(name, reading.resolve(full, pair.value))
  }
  return entries
}

function readKey<T>(
  reading: Reading,
  key: string,
  { kind, fallback, about }: Key<T>,
  node: Node | null | undefined,
): T | null | undefined {
  if (node !== undefined) {
    placeValue(reading, key, node)
    return kind.read(reading, key, node)
  }
  if (fallback === null) return null
  if (fallback !== undefined) return kind.read(reading, key, new Document(fallback).contents)
  reading.complain(key, 'is missing', `it is ${about}`)
}

function complainUnknown(reading: Reading, key: string, name: string, known: readonly string[]): undefined {
  if (name === '<<') return reading.complain(key, 'merge keys are not read', 'use an alias for a whole value')
  const guess = nearest(name, known)
  reading.complain(key, 'unknown key', guess ? `did you mean "${guess}"?` : `known here: ${known.join(', ')}`)
}
