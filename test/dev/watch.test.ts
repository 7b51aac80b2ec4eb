// Whether a save is seen once, and what git ignores is not seen at all, on a real file system.
import { mkdir, mkdtemp, open, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { watchFolder } from '../../src/dev/watch.ts'

interface Watched {
  folder: string
  write(path: string, text?: string): Promise<void>
  /** What was said to have changed next, in one go. */
  next(): Promise<readonly string[]>
  /** Whether it was said that there is nothing to watch. */
  isNothing(): boolean
  close(): Promise<void>
}

/** @param files what is there already, with its text; @param below the part of it that is watched */
async function watched(t: Test, files: Record<string, string>, below = ''): Promise<Watched> {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-watch-'))
  const write = async (path: string, text = `${performance.now()}`) => {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  for (const [path, text] of Object.entries(files)) await write(path, text)
  const waiting: ((paths: readonly string[]) => void)[] = []
  const said: (readonly string[])[] = []
  let nothing = false
  const watch = watchFolder({
    folder: join(folder, below),
    onChange(changes) {
      const paths = changes.map(({ path }) => path)
      const taker = waiting.shift()
      if (taker) taker(paths)
      else said.push(paths)
    },
    onError: (error) => t.fail(String(error)),
    onNothing: () => {
      nothing = true
    },
  })
  t.teardown(async () => {
    await watch.close()
    await rm(folder, { recursive: true })
  })
  await watch.ready
  const next = async () =>
    said.shift() ?? new Promise<readonly string[]>((resolve) => void waiting.push(resolve))
  return { folder, write, next, isNothing: () => nothing, close: () => watch.close() }
}

t.test('a save is said once, however the editor does it', async (t) => {
  const { folder, write, next } = await watched(t, { 'server.js': '1', 'src/a.js': '1' })
  await write('server.js')
  t.strictSame(await next(), ['server.js'])
  for (let turn = 0; turn < 3; turn++) {
    await write('server.js~')
    await rename(join(folder, 'server.js~'), join(folder, 'server.js'))
    t.strictSame(await next(), ['server.js'], 'written beside it, and renamed')
  }
  await write('src/a.js')
  t.strictSame(await next(), ['src/a.js'])
  await rm(join(folder, 'src/a.js'))
  t.strictSame(await next(), ['src/a.js'], 'removed')
})

t.test('a file that is written slowly is said once more when it is whole', async (t) => {
  const { folder, next } = await watched(t, { 'server.js': '1' })
  const file = await open(join(folder, 'server.js'), 'w')
  await file.write('half of it, ')
  t.strictSame(await next(), ['server.js'])
  await file.write('and the rest')
  t.strictSame(await next(), ['server.js'])
  await file.close()
})

t.test('what changes together is said together', async (t) => {
  const { write, next } = await watched(t, { 'a.js': '1', 'b.js': '1' })
  await Promise.all([write('a.js'), write('b.js')])
  t.strictSame([...(await next())].sort(), ['a.js', 'b.js'])
})

t.test('a file that becomes a link to itself takes no other change with it', async (t) => {
  const { folder, write, next } = await watched(t, { 'a.js': '1', 'b.js': '1' })
  await symlink('a.js', join(folder, 'link~'))
  await Promise.all([write('a.js'), write('b.js')])
  await rename(join(folder, 'link~'), join(folder, 'a.js'))
  const seen: string[] = []
  while (!seen.includes('b.js')) seen.push(...(await next()))
  t.pass('b.js is seen')
})

t.test('a new folder is watched from its beginning', async (t) => {
  const { write, next } = await watched(t, {})
  await write('new/deep/a.js')
  t.strictSame(await next(), ['new/deep/a.js'])
  // It may be said before the system watches it; what is saved in that moment may go unseen.
  const again = next()
  const isSaid = again.then(() => true)
  do await write('new/deep/a.js')
  while (!(await Promise.race([isSaid, pause(100, false)])))
  t.strictSame(await again, ['new/deep/a.js'])
})

/** Writes each of these, and then one that is seen: had any of the others been, it would have been said before. */
async function unseen({ write, next }: Watched, t: Test, paths: readonly string[]): Promise<void> {
  for (const path of paths) await write(path)
  await write('seen.js')
  t.strictSame(await next(), ['seen.js'], `not ${paths.join(', ')}`)
}

t.test('what git ignores is not seen, also by the rules of a folder below', async (t) => {
  const rules = { '.gitignore': 'out/\n*.log\n/only-here.txt\n', 'app/.gitignore': '!keep.log\ncache\n' }
  const there = { 'out/a.js': '1', 'app/cache/a.js': '1', 'app/a.js': '1', 'seen.js': '1' }
  const folder = await watched(t, { ...rules, ...there })
  await unseen(folder, t, ['out/a.js', 'out/new/b.js', 'app/out/c.js', 'a.log', 'app/b.log', 'only-here.txt'])
  await unseen(folder, t, ['app/cache/a.js', 'app/cache/new.js'])
  await folder.write('app/keep.log')
  t.strictSame(await folder.next(), ['app/keep.log'], 'the nearer rule wins')
  await folder.write('app/only-here.txt')
  t.strictSame(await folder.next(), ['app/only-here.txt'])
})

t.test('the rules above count up to the root of the repository', async (t) => {
  const files = { '.git/HEAD': '', '.gitignore': '*.log\n', 'app/seen.js': '1' }
  const { write, next } = await watched(t, files, 'app')
  await write('app/a.log')
  await write('app/seen.js')
  t.strictSame(await next(), ['seen.js'])
})

t.test('rules that change hold from then on, and no save is lost while all is looked at anew', async (t) => {
  const { write, next } = await watched(t, { '.gitignore': '*.log\n', 'a.log': '1' })
  await write('.gitignore', '')
  t.strictSame(await next(), ['.gitignore'])
  // Whenever all is looked at again, the rules are said to have changed once more, unless that was at once.
  const seen = (async () => {
    for (;;) if ((await next()).includes('a.log')) return true
  })()
  const writing = async () => {
    await write('a.log')
    return new Promise<false>((resolve) => setImmediate(resolve, false))
  }
  for (let said = false; !said; ) said = await Promise.race([seen, writing()])
  t.ok(await seen)
})

t.test('rules that leave nothing are told, and may be mended', async (t) => {
  const { write, next, isNothing } = await watched(t, { '.gitignore': '*\n', 'src/a.js': '1' })
  t.ok(isNothing())
  await write('.gitignore', '*.log\n')
  t.strictSame(await next(), ['.gitignore'])
  t.notOk((await watched(t, { '.gitignore': '*.log\n', 'src/a.js': '1' })).isNothing())
})

t.test('git, node_modules, slotgate and editors keep their files to themselves', async (t) => {
  const folder = await watched(t, { 'seen.js': '1', '.git/index': '1', 'node_modules/a/index.js': '1' })
  await unseen(folder, t, [
    '.git/index',
    'node_modules/a/index.js',
    'app/node_modules/b.js',
    '.slotgate/dev/x',
  ])
  await unseen(folder, t, ['.seen.js.swp', 'seen.js~', '.#seen.js', '4913', '.DS_Store'])
})

t.test('rules that come into the folder leave nothing open when the watch ends', async (t) => {
  const watches = () => process.getActiveResourcesInfo().filter((kind) => kind === 'FSEventWrap').length
  const before = watches()
  const { write, next, close } = await watched(t, { 'a.js': '1' })
  await write('.gitignore', '*.log')
  t.strictSame(await next(), ['.gitignore'])
  await close()
  while (watches() > before) await new Promise(setImmediate)
  t.equal(watches(), before)
})
