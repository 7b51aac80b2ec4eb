// Headers of the PROXY protocol as octets, for the tests about them. Pure.

/** What a header of version 2 begins with, in hex. */
export const SIGNATURE = '0d0a0d0a000d0a515549540a'

/** A header of version 2, from the hex of its command and family and of what follows its length. */
export function version2(command: string, rest: string, length = rest.length / 2): Buffer {
  return Buffer.from(`${SIGNATURE}${command}${length.toString(16).padStart(4, '0')}${rest}`, 'hex')
}

/** A header of version 1 that names a client of IPv4. */
export const tcp4Line = (source: string): string => `PROXY TCP4 ${source} 198.51.100.2 55555 80\r\n`

/** Addresses and ports, in hex: 192.0.2.1 on port 55555 asks 198.51.100.2 on port 80. */
export const TCP4_BLOCK = 'c0000201c6336402d9030050'
export const IPV6 = '20010db8000000000000000000000001'
/** 2001:db8::1 on port 55555 asks itself on port 80. */
export const TCP6_BLOCK = `${IPV6}${IPV6}d9030050`
/** The name that a client asked for by TLS, a checksum, and what a cloud adds, as load balancers do. */
export const TLVS = '02000661 2e74657374 030004 00000000 ea0005 0176706365'.replaceAll(' ', '')
