package rotate

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"time"
)

// ulid is 48 bits of milliseconds and 80 random ones in Crockford's base 32, so that
// ids sort by time (https://github.com/ulid/spec).
func ulid(now time.Time) string {
	var b [20]byte // the id's 128 bits behind 32 zero ones; the last 26 of 32 letters hold them
	binary.BigEndian.PutUint64(b[2:10], uint64(now.UnixMilli()))
	_, _ = rand.Read(b[10:])
	enc := base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)
	return enc.EncodeToString(b[:])[6:]
}
