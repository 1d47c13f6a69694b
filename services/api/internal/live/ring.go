package live

// What a client may miss and still resume: at ten updates a second, ten minutes if
// they are small.
const (
	maxRing      = 6000
	maxRingBytes = 8 << 20
)

// ring keeps the newest messages of an epoch.
type ring struct {
	messages, bytes int // most of them
	list            burst
	held            int    // bytes in list
	last            uint64 // sequence number of the newest
}

func (r *ring) reset(seq uint64) { r.list, r.held, r.last = nil, 0, seq }

func (r *ring) push(seq uint64, message *packet) {
	r.list, r.held, r.last = append(r.list, message), r.held+len(message.data), seq
	for len(r.list) > r.messages || r.held > r.bytes {
		r.held -= len(r.list[0].data)
		r.list[0] = nil
		r.list = r.list[1:]
	}
}

// since returns the messages after seq; it reports false when some are gone, or seq
// is not from here.
func (r *ring) since(seq uint64) (burst, bool) {
	if seq > r.last || r.last-seq > uint64(len(r.list)) {
		return nil, false
	}
	missed := r.list[len(r.list)-int(r.last-seq):]
	return append(burst(nil), missed...), true
}
