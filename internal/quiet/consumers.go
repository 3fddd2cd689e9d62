package quiet

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// Consumer may acknowledge over HTTP, as itself.
type Consumer struct {
	Name        string
	Token       func(context.Context) (rotate.Secret, error) // read again from time to time
	Credentials []rotate.Name                                // that it may acknowledge
}

const (
	// minToken is the shortest token that is not guessed: 16 random bytes in base64 have 22 characters.
	minToken = 20
	// tokenLook is how long a token that was replaced still works.
	tokenLook = 5 * time.Second
	// Requests of one consumer: a fleet's restart at once, then one a second.
	requestBurst, requestsPerSecond = 60, 1
)

// Consumers is who may acknowledge.
type Consumers struct {
	all []Consumer

	mu      sync.Mutex
	digests [][sha256.Size]byte // guarded by mu, as is all below; by the index in all
	valid   []bool
	read    time.Time
	buckets []bucket
}

// NewConsumers reads every token once: a start with one that cannot be read is refused.
func NewConsumers(ctx context.Context, all []Consumer) (*Consumers, error) {
	c := &Consumers{all: slices.Clone(all), digests: make([][sha256.Size]byte, len(all)), valid: make([]bool, len(all)), buckets: make([]bucket, len(all))}
	for i, one := range all {
		if !consumerForm.MatchString(one.Name) || one.Token == nil {
			return nil, fmt.Errorf("consumer %q: a name in lower case and a token are needed", one.Name)
		}
		if slices.ContainsFunc(all[:i], func(o Consumer) bool { return o.Name == one.Name }) {
			return nil, fmt.Errorf("consumer %s is there twice", one.Name)
		}
	}
	return c, c.refresh(ctx, time.Now())
}

// refresh the tokens. One that cannot be read, is short, or is another consumer's too, is
// nobody's until that is cured.
func (c *Consumers) refresh(ctx context.Context, now time.Time) error {
	c.read = now
	var errs []error
	for i, one := range c.all {
		token, err := one.Token(ctx)
		text := token.Reveal() //nolint:forbidigo // only its hash is kept
		if err == nil && len(text) < minToken {
			err = fmt.Errorf("its token has fewer than %d characters; make one with openssl rand -hex 32", minToken)
		}
		if c.valid[i] = err == nil; err != nil {
			errs = append(errs, fmt.Errorf("consumer %s: %w", one.Name, err))
			continue
		}
		c.digests[i] = sha256.Sum256([]byte(text))
	}
	for i := range c.all {
		for j := range i {
			if c.valid[i] && c.valid[j] && c.digests[i] == c.digests[j] {
				c.valid[i], c.valid[j] = false, false
				errs = append(errs, fmt.Errorf("consumers %s and %s have the same token; each needs its own", c.all[j].Name, c.all[i].Name))
			}
		}
	}
	return errors.Join(errs...)
}

// errLimited: a consumer asks too often.
var errLimited = errors.New("too many requests")

// whose token this is; nil if it is nobody's. All of them are compared, each in constant time, so that
// the time tells nothing. troubles are tokens that could not be read just now.
func (c *Consumers) whose(ctx context.Context, token string, now time.Time) (who *Consumer, troubles, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.read).Abs() >= tokenLook {
		troubles = c.refresh(ctx, now)
	}
	digest := sha256.Sum256([]byte(token))
	found := -1
	for i := range c.all {
		same := subtle.ConstantTimeCompare(digest[:], c.digests[i][:])
		if !c.valid[i] {
			same = 0
		}
		found = subtle.ConstantTimeSelect(same, i, found)
	}
	if found < 0 {
		return nil, troubles, nil
	}
	if !c.buckets[found].take(now) {
		return &c.all[found], troubles, errLimited
	}
	return &c.all[found], troubles, nil
}

// bucket of requests.
type bucket struct {
	used float64 // of the burst
	at   time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.used = max(0, b.used-max(0, now.Sub(b.at).Seconds())*requestsPerSecond)
	b.at = now
	if b.used+1 > requestBurst {
		return false
	}
	b.used++
	return true
}
