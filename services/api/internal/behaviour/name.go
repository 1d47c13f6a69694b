package behaviour

import (
	"hash/maphash"
	"sync"
)

// hash stands for a text: a user, a session, a path. Two of ten million texts share
// one with a probability of five in a million, and nobody can choose texts that do,
// as the seed is drawn at the start.
type hash uint64

var seed = maphash.MakeSeed()

// hashOf never returns 0, which stands for no text.
func hashOf(text []byte) hash { return hash(maphash.Bytes(seed, text) | 1) }

// hashAll hashes several texts as one.
func hashAll(texts [][]byte) hash {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, text := range texts {
		h.Write(text)
		h.WriteByte(0) // which no text holds
	}
	return hash(h.Sum64() | 1)
}

// maxNames bounds the memory that the names of one answer take, in bytes.
const maxNames = 64 << 20

// names tells hashes' texts.
type names struct {
	mu   sync.Mutex
	text map[hash]string
	size int
}

// reader returns a function for one goroutine that hashes a text and remembers it.
// NULL is 0.
func (n *names) reader() func([]byte) (hash, error) {
	known := map[hash]struct{}{}
	return func(raw []byte) (hash, error) {
		if raw == nil {
			return 0, nil
		}
		h := hashOf(raw)
		if _, ok := known[h]; ok {
			return h, nil
		}
		known[h] = struct{}{}
		return h, n.add(h, string(raw))
	}
}

func (n *names) add(h hash, text string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.text[h]; ok {
		return nil
	}
	if n.text == nil {
		n.text = map[hash]string{}
	}
	n.text[h] = text
	if n.size += len(text) + 64; n.size > maxNames {
		return tooMuch("different paths or names")
	}
	return nil
}

// less compares the texts; no text is the least.
func (n *names) less(a, b hash) bool {
	if a == b {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text[a] < n.text[b]
}
