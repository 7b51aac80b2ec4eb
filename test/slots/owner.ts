// Tries to own a state folder when it is told to, says whether it does, and keeps it until its input ends.
import { once } from 'node:events'
import { ownStateDir } from '../../src/slots/owner.ts'

const [folder = ''] = process.argv.slice(2)
console.log('ready')
await once(process.stdin, 'data')
await ownStateDir(folder).then(
  () => console.log('owner'),
  (error) => console.log(error.code, error.facts.pid),
)
process.stdin.resume()
