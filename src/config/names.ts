// What releases, keys, services and slots may be called.
import { SLOTS } from '../contract.ts'
import { Complaint } from './complaint.ts'

/** A release id: it becomes part of a path and of log lines. */
export const RELEASE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/

/** What a caller may call a release: its id, or with git whatever names a commit. */
export const RELEASE_NAME = /^[^\s\p{Cc}]{1,256}$/u

export const NOT_AN_ID =
  'must be 1 to 128 letters, digits, dots, dashes and underscores, beginning with a letter or digit'

/** An actor of this name is slotgate itself. */
const OWN_NAME = 'slotgate'

export function judgeKeyId(value: string): Complaint | undefined {
  if (value === OWN_NAME) {
    return new Complaint('is what the journal calls slotgate itself', 'choose another id')
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/.test(value)) {
    return new Complaint(
      'must be 1 to 64 letters, digits, dots, dashes, underscores and @, beginning with a letter or digit',
    )
  }
}

export function judgeServiceName(name: string): Complaint | undefined {
  if (!/^[a-z0-9][a-z0-9_-]{0,62}$/.test(name)) {
    return new Complaint('a service name is 1 to 63 small letters, digits, dashes and underscores')
  }
  // State is kept by service name in plain objects; every object has a `constructor`.
  if (name in {}) return new Complaint('this name is reserved', 'choose another one')
}

/** The fields that say how a message is framed and sent, and what it is. */
const OF_A_MESSAGE =
  /^(?:connection|content-.*|expect|host|keep-alive|te|trailer|transfer-encoding|upgrade)$/i

export function judgeFieldName(name: string): Complaint | undefined {
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) return new Complaint('is not the name of a field')
  if (OF_A_MESSAGE.test(name)) return new Complaint('is set by slotgate itself', 'take it out')
}

export const isSlotName = (name: string): boolean => SLOTS.some((slot) => slot === name)
