// `slotgate dev` from end to end: a slotgate of its own around the app in this folder, a release for each change, the keys,
// and at the end nothing is left.
import type { ReadStream } from 'node:tty'
import { type Call, type DevOptions, EXIT, type Sink } from '../cli/call.ts'
import type { Config, ListenAddress, ServiceConfig } from '../config/types.ts'
import { messageOf, SlotgateError } from '../errors.ts'
import { createLogger, type Logger } from '../log.ts'
import type { Pages } from '../relay/pages.ts'
import { listenUrl, siteOf } from '../slots/ask.ts'
import type { Control } from '../switch/types.ts'
import { type DevConfig, devConfig } from './config.ts'
import { readKeys } from './keys.ts'
import { Loop, type Standing } from './loop.ts'
import { DevPages } from './pages.ts'
import { Screen } from './screen.ts'
import { openSession, type Session } from './session.ts'
import { type Watch, watchFolder } from './watch.ts'

/** A slotgate that runs, as far as a session has to do with it. */
export interface Slotgate {
  readonly frontDoor: ListenAddress
  readonly admin: ListenAddress
  readonly control: Control
  reload(next: Config): unknown
  close(): Promise<void>
}

export interface DevWorld {
  start(config: Config, log: Logger, pages: Pages): Promise<Slotgate>
  /** Resolves when the session is to end. */
  stopped: Promise<void>
  /** Absolute. */
  folder: string
  stdin: ReadStream
  stdout: Sink
  env: Call['env']
}

/** Where nobody reads what people read. */
const NOBODY: Sink = { write: () => {} }

/** At the end nobody waits for long: it is one developer's own requests that are still open. */
const END_WITHIN_MS = 1_000

/** How often a free port may be lost to somebody else. */
const STARTS = 10

/**
 * Runs until a key or a signal ends it.
 *
 * @returns the exit code
 * @throws what `openSession`, `devConfig` and the start of slotgate throw
 */
export async function runDev(options: DevOptions, world: DevWorld): Promise<number> {
  const { stdout, env, folder } = world
  const screen = new Screen(options.json ? NOBODY : stdout, env)
  const log = createLogger('info', options.json ? { write: (lines) => void stdout.write(lines) } : screen)
  const session = await openSession(folder)
  try {
    const pages = new DevPages(options.overlay)
    const { slotgate, config, moved } = await startOnFreePorts({ options, session, log, pages }, world)
    try {
      const [frontDoor, admin] = [slotgate.frontDoor, slotgate.admin].map(listenUrl)
      await session.publish(admin ?? '')
      log.info({ front_door: frontDoor, admin }, 'slotgate is up')
      if (moved) screen.warn(`${moved.message} ${moved.facts.who} Until then: ${frontDoor}`)
      await develop({ slotgate, config, pages, screen }, world)
    } finally {
      await slotgate.close()
    }
  } finally {
    await session.close()
  }
  screen.note('nothing is left running')
  return EXIT.done
}

interface Beginning {
  options: DevOptions
  session: Session
  log: Logger
  pages: Pages
}

/** Once more where somebody, another session that begins say, took a port between the look at it and its opening. */
async function startOnFreePorts(
  { options, session, log, pages }: Beginning,
  { start, folder }: DevWorld,
): Promise<DevConfig & { slotgate: Slotgate }> {
  for (let left = STARTS - 1; ; left--) {
    const chosen = await devConfig(options, folder, session)
    try {
      return { ...chosen, slotgate: await start(chosen.config, log, pages) }
    } catch (error) {
      const isLost = error instanceof SlotgateError && error.code === 'port_in_use'
      if (!isLost || error.facts.port === options.listen?.port || left === 0) throw error
    }
  }
}

interface Running {
  slotgate: Slotgate
  config: Config
  pages: DevPages
  screen: Screen
}

/** From the first boot to the wish to end. */
async function develop(running: Running, { stdin, stopped }: DevWorld): Promise<void> {
  const { slotgate, config, screen } = running
  const settings = createSettings(slotgate, config)
  const advice = stdin.isTTY ? 'r: once more; or save a change' : 'save a change to try again'
  const loops = config.services.map((service) => createLoop(running, service, settings, advice))
  const watches = watchFolders(loops, screen)
  const quit = Promise.withResolvers<void>()
  const keys = readKeys(
    stdin,
    {
      r: () => loops.map(({ loop }) => loop.retry()),
      b: () => loops.map(({ loop }) => loop.rollBack()),
      s: () => loops.map(({ loop }) => loop.show()),
    },
    quit.resolve,
  )
  screen.welcome(
    config.services.map((service) => siteOf(service, slotgate.frontDoor)),
    keys !== null,
  )
  for (const { loop } of loops) loop.begin()
  await Promise.race([stopped, quit.promise])
  keys?.close()
  screen.note('stopping')
  settings.hurry()
  await Promise.all([...watches.map((watch) => watch.close()), ...loops.map(({ loop }) => loop.close())])
}

interface Settings {
  /** Gives the running slotgate other settings for one service. */
  configure(service: ServiceConfig): void
  /** From now on nobody is waited for. */
  hurry(): void
}

function createSettings(slotgate: Slotgate, config: Config): Settings {
  let current = config
  const change = (next: (service: ServiceConfig) => ServiceConfig) => {
    current = { ...current, services: current.services.map(next) }
    slotgate.reload(current)
  }
  return {
    configure: (next) => change((service) => (service.name === next.name ? next : service)),
    hurry: () => change((one) => ({ ...one, drain: { ...one.drain, withinMs: END_WITHIN_MS } })),
  }
}

interface Developed {
  /** Where its code is. */
  folder: string
  loop: Loop
}

function createLoop(
  { slotgate, pages, screen }: Running,
  service: ServiceConfig,
  { configure }: Settings,
  advice: string,
): Developed {
  const { control } = slotgate
  const onStanding = (standing: Standing) => pages.stand(service.name, standing)
  const loop = new Loop({ control, screen, service, advice, configure, onStanding })
  return { folder: service.releases?.driver === 'process' ? service.releases.cwd : '', loop }
}

/** A change concerns every service whose code is in the folder. */
function watchFolders(loops: readonly Developed[], screen: Screen): Watch[] {
  return [...Map.groupBy(loops, ({ folder }) => folder)].map(([folder, members]) => {
    const watch = watchFolder({
      folder,
      onChange(changes) {
        for (const { loop } of members) loop.change(changes)
      },
      onNothing: () =>
        screen.warn(`No save is seen in ${folder}: there is no file, or .gitignore leaves none.`),
      onError: (error) => screen.warn(`Changes in ${folder} may go unseen: ${messageOf(error)}`),
    })
    void watch.ready.then(() => screen.note(`watching ${folder}`))
    return watch
  })
}
