// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are the variables of a config.
// Whether words become commands, and wrong words a sentence and exit code 2.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { DevOptions } from '../../src/cli/call.ts'
import { COMMANDS } from '../../src/cli/commands/all.ts'
import { SlotgateError } from '../../src/errors.ts'
import { newFolder, run } from './terminal.ts'

const NOTHING = { stdout: '' }

t.test('help goes to standard output and is no failure', async (t) => {
  for (const argv of [['--help'], ['-h'], ['help']]) {
    const { code, stdout, stderr } = await run(argv)
    t.strictSame({ code, stderr }, { code: 0, stderr: '' })
    for (const name of Object.keys(COMMANDS)) t.match(stdout, `slotgate ${name}`)
  }
})

t.test('each command tells its flags', async (t) => {
  for (const [name, { flags }] of Object.entries(COMMANDS)) {
    for (const argv of [
      [...name.split(' '), '--help'],
      ['help', ...name.split(' ')],
    ]) {
      const { code, stdout } = await run(argv)
      t.equal(code, 0)
      for (const flag of [...flags, 'json']) t.match(stdout, `--${flag}`, `${name} --${flag}`)
    }
  }
})

t.test('the version is that of the package', async (t) => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  t.match(await run(['--version']), { code: 0, stdout: `${version}\n` })
})

t.test('without a command the usage goes to standard error', async (t) => {
  t.match(await run([]), { code: 2, stdout: '', stderr: /slotgate serve/ })
})

const WRONG: [argv: string[], sentence: string][] = [
  [['statsu'], 'There is no command statsu.\n  Did you mean slotgate status?'],
  [['keys'], 'There is no command keys.\n  Did you mean slotgate keys generate?'],
  [['frobnicate'], 'There is no command frobnicate.\n  slotgate --help lists the commands.'],
  [['status', '--sevrice', 'x'], 'There is no flag --sevrice.\n  Did you mean --service?'],
  [['status', '--to', 'r1'], 'slotgate status takes no --to.\n  slotgate status --help lists its flags.'],
  [['status', 'invoices'], 'slotgate status does not take invoices.'],
  [['deploy'], 'slotgate deploy needs RELEASE.'],
  [['check', 'deploy'], 'slotgate check takes promote or rollback, not deploy.'],
  [['check'], 'slotgate check needs promote|rollback.'],
  [['status', '--key'], "Option '--key <value>' argument missing."],
  [['status', '--json=yes'], "Option '--json' does not take an argument."],
  [['status', '--', 'invoices'], 'slotgate status does not take invoices.'],
  [['dev'], 'Say how the app is started: slotgate dev -- COMMAND …'],
  [['dev', '--listen', '80', '--', 'node'], '--listen must be an address'],
  [['status'], 'No key to sign with.\n  Name one with --key FILE or SLOTGATE_KEY'],
]

t.test('what does not fit is told in a sentence, with exit code 2', async (t) => {
  for (const [argv, sentence] of WRONG) {
    const { code, stdout, stderr } = await run(argv)
    t.strictSame({ code, stdout }, { code: 2, ...NOTHING }, argv.join(' '))
    t.equal(stderr.slice(0, sentence.length), sentence)
  }
})

t.test('what stands behind two dashes is no flag of slotgate', async (t) => {
  const asked: DevOptions[] = []
  const dev = async (options: DevOptions) => {
    asked.push(options)
    return 7
  }
  const words = ['psql', '-h', 'localhost', '--json', '--', 'x']
  const argv = ['dev', '--overlay', '--listen', '127.0.0.1:3000', '--', ...words]
  t.match(await run(argv, { dev }), { code: 7, stdout: '', stderr: '' })
  const listen = { host: '127.0.0.1', port: 3000 }
  t.strictSame(asked, [{ command: words, overlay: true, json: false, listen }])
})

t.test('serve', async (t) => {
  const folder = newFolder(t)
  const good = join(folder, 'good.yaml')
  const bad = join(folder, 'bad.yaml')
  writeFileSync(good, 'services:\n  app:\n    releases: { command: ["${PROGRAM}"] }\n    first: r1\n')
  writeFileSync(bad, 'listen: 80\nservices:\n  app:\n    relases: {}\n    first: r1\n')
  const env = { PROGRAM: 'node' }

  await t.test('runs slotgate with the config it was given, and ends as it ends', async (t) => {
    const served: string[] = []
    const serve = async (file: string) => {
      served.push(file)
      return 7
    }
    t.match(await run(['serve', '--config', good], { serve }), { code: 7, stdout: '', stderr: '' })
    await run(['serve'], { serve })
    t.strictSame(served, [good, 'proxy.config.yaml'])
  })

  await t.test('--check finds no problem and starts nothing', async (t) => {
    const ended = await run(['serve', '--config', good, '--check'], { env })
    t.strictSame(ended, { code: 0, stdout: `${good} has no problems.\n`, stderr: '' })
  })

  await t.test('--check prints every problem', async (t) => {
    const { code, stdout } = await run(['serve', '--config', bad, '--check'])
    t.equal(code, 2)
    t.match(stdout, `${bad}:1:9  listen: must be an address`)
    t.match(stdout, `${bad}:4:5  services.app.relases: unknown key; did you mean "releases"?`)
  })

  await t.test('--check --json prints them as data', async (t) => {
    const { code, stdout, stderr } = await run(['serve', '--config', bad, '--check', '--json'])
    t.strictSame({ code, stderr }, { code: 2, stderr: '' })
    const { file, problems } = JSON.parse(stdout)
    t.equal(file, bad)
    t.match(problems, [{ line: 1, column: 9, key: 'listen' }, { line: 3 }, { line: 4, column: 5 }])
  })

  await t.test('a config that is not there is told by its name', async (t) => {
    const ended = await run(['serve', '--check', '--config', join(folder, 'nope.yaml')])
    t.match(ended, { code: 2, stdout: '', stderr: /The config .*nope\.yaml cannot be read/ })
  })

  await t.test('a start that fails is told with what would help', async (t) => {
    const fail = (error: SlotgateError) => () => Promise.reject(error)
    const taken = new SlotgateError('port_in_use', {
      port: 80,
      host: '127.0.0.1',
      what: 'listen',
      who: 'Ask Bob.',
    })
    t.strictSame(await run(['serve'], { serve: fail(taken) }), {
      code: 1,
      stdout: '',
      stderr: 'Port 80 on 127.0.0.1 is already in use (listen).\n  Ask Bob.\n',
    })
    const problems = [{ line: 1, column: 9, key: 'listen', sentence: 'is wrong' }]
    const invalid = new SlotgateError('config_invalid', { file: 'x.yaml', count: 'one problem', problems })
    t.strictSame(await run(['serve'], { serve: fail(invalid) }), {
      code: 2,
      stdout: '',
      stderr: 'The config x.yaml has one problem.\nx.yaml:1:9  listen: is wrong\n',
    })
  })

  await t.test('a bug is not dressed up as an answer', async (t) => {
    const serve = () => Promise.reject(new TypeError('x is not a function'))
    await t.rejects(run(['serve'], { serve }), TypeError)
  })
})
