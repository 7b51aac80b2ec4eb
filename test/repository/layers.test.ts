// Holds the layers: a file of src/ imports from its own folder and from those above it in this list, never from below.
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'

const folders = ['config', 'journal', 'slots', 'gate', 'switch', 'relay', 'admin', 'cli', 'dev', 'kit']
const roots = ['main', 'index', 'bin']

interface Import {
  /** A path below src/, or the name of a package. */
  readonly target: string
  readonly isLocal: boolean
  /** Erased before the code runs. */
  readonly isType: boolean
  /** Loaded when a line of code says so. */
  readonly isLater: boolean
}

const src = join(import.meta.dirname, '..', '..', 'src')
const sources = new Map(
  globSync('**/*.ts', { cwd: src })
    .sort()
    .map((file) => [file, withoutComments(readFileSync(join(src, file), 'utf8'))]),
)
const imports = new Map([...sources].map(([file, text]) => [file, importsOf(file, text)]))

t.test('each file of src/ has a place among the layers', async (t) => {
  t.ok(sources.size > 0)
  for (const file of sources.keys()) t.ok(layerOf(file) >= 0, file)
})

t.test('no file imports from a layer below its own', async (t) => {
  for (const { file, target } of localImports())
    t.ok(layerOf(target) <= layerOf(file), `${file} imports ${target}`)
})

t.test('each import names a file that is there', async (t) => {
  for (const { file, target } of localImports()) t.ok(sources.has(target), `${file} imports ${target}`)
})

t.test('no file imports itself by a detour', async (t) => {
  for (const file of imports.keys()) t.equal(cycleFrom(file).join(' → '), '', file)
})

t.test(
  'the kit imports of slotgate what its answers, its migrations folder, its signed question and its server are made of',
  async (t) => {
    for (const { file, target } of localImports()) {
      if (!file.startsWith('kit/') || target.startsWith('kit/')) continue
      t.match(target, /^(contract|errors|http|migration-files|signing)\.ts$/, `${file} imports ${target}`)
    }
  },
)

t.test('nothing that the relay loads loads fastify or yaml', async (t) => {
  const loaded = [...imports.keys()]
    .filter((file) => file.startsWith('relay/'))
    .flatMap((file) => [...loadedBy(file)])
  for (const name of new Set(loaded)) t.notMatch(name, /^(@?fastify|yaml)\b/)
})

t.test('only its types are imported from node:http', async (t) => {
  for (const [file, all] of imports) {
    t.notOk(
      all.some(({ target, isType }) => target === 'node:http' && !isType),
      file,
    )
  }
})

t.test('the command line loads no package before it knows which command is called', async (t) => {
  const loaded = [...loadedBy('bin.ts', { later: false })]
  t.ok(loaded.includes('cli/commands/serve.ts'))
  t.same(
    loaded.filter((target) => !sources.has(target) && !target.startsWith('node:')),
    [],
  )
})

t.test('the switch imports neither relay nor admin', async (t) => {
  for (const { file, target } of localImports()) {
    if (file.startsWith('switch/')) t.notMatch(target, /^(relay|admin)\//, `${file} imports ${target}`)
  }
})

t.test('Atomics live in slots/table.ts alone', async (t) => {
  const owners = [...sources].filter(([, text]) => /\bAtomics\b/.test(text)).map(([file]) => file)
  t.same(owners, ['slots/table.ts'])
})

t.test('no default exports and no casts by way of unknown', async (t) => {
  for (const [file, text] of sources) {
    t.notMatch(text, /^export default\b|\bas default\b/m, file)
    t.notMatch(text, /\bas unknown as\b/, file)
  }
})

t.test('each file begins with a sentence that says what it is for', async (t) => {
  for (const file of sources.keys()) {
    const [first = '', second = ''] = readFileSync(join(src, file), 'utf8').split('\n')
    t.match(first.startsWith('#!') ? second : first, /^(\/\/|\/\*\*?) \S/, file)
  }
})

/** Files of src/ itself come first, but for the entry points, which come last. */
function layerOf(file: string): number {
  const [first = '', ...rest] = file.split('/')
  if (rest.length > 0) return folders.includes(first) ? 1 + folders.indexOf(first) : -1
  return roots.includes(first.replace(/\.ts$/, '')) ? folders.length + 1 : 0
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
}

function importsOf(file: string, text: string): Import[] {
  const statements = text.matchAll(/^(?:import|export)\b(\s+type\b)?(?:[^'";]*?\bfrom)?\s*'([^']+)'/gm)
  const calls = text.matchAll(/\bimport(\s+type\b)?\('([^']+)'\)/g)
  const importOf =
    (isLater: boolean) =>
    ([, type, target = '']: RegExpExecArray): Import => {
      const isLocal = target.startsWith('.')
      const path = isLocal ? normalize(join(dirname(file), target)) : target
      return { target: path, isLocal, isType: type !== undefined, isLater }
    }
  return [...[...statements].map(importOf(false)), ...[...calls].map(importOf(true))]
}

function localImports(): { file: string; target: string }[] {
  return [...imports].flatMap(([file, all]) =>
    all.filter(({ isLocal }) => isLocal).map(({ target }) => ({ file, target })),
  )
}

/** All files and packages that are in memory once `file` is; with those it loads later, unless that is not asked for. */
function loadedBy(file: string, { later = true, seen = new Set<string>() } = {}): Set<string> {
  for (const { target, isType, isLater } of imports.get(file) ?? []) {
    if (isType || (isLater && !later) || seen.has(target)) continue
    seen.add(target)
    loadedBy(target, { later, seen })
  }
  return seen
}

/** The shortest way from a file back to itself, `[]` if there is none. */
function cycleFrom(start: string): string[] {
  const ways: string[][] = [[start]]
  const seen = new Set<string>()
  for (const way of ways) {
    for (const { target, isLocal } of imports.get(way.at(-1) ?? '') ?? []) {
      if (target === start) return [...way, target]
      if (!isLocal || seen.has(target)) continue
      seen.add(target)
      ways.push([...way, target])
    }
  }
  return []
}
