// An app that writes into the folder in which it is developed: it still gets to serve.
import t from 'tap'
import { Dev, saying } from '../support/dev.ts'

t.test('what an app writes at each boot does not keep it from serving, however many files', async (t) => {
  const writes = `
    import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
    mkdirSync('tmp', { recursive: true })
    writeFileSync('tmp/' + process.pid, '')
    writeFileSync('db-journal', '')
    writeFileSync('db', String(process.pid))
    setTimeout(() => rmSync('db-journal', { force: true }), 100)
    const busy = setInterval(() => appendFileSync('app.log', 'x'), 20)
    await new Promise((resolve) => setTimeout(resolve, 600))
    clearInterval(busy)
  `
  const files = { 'package.json': JSON.stringify({ type: 'module' }), 'server.js': saying('one') }
  const dev = await Dev.start(t, { files })
  await dev.answers('one')
  await dev.shows(/watching/)
  await dev.save('server.js', saying('two', writes))
  for (const name of ['db', 'app.log']) {
    await dev.shows(new RegExp(`${name} changes whenever the app boots; from now on it is passed over`))
  }
  await dev.shows(/New files come in tmp\/ whenever the app boots/)
  await dev.answers('two')
})
