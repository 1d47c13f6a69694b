package rig

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/process"
)

// Usage is what a process and its children have used. What the system does not tell,
// or tells others only, is 0.
type Usage struct {
	CPU     float64 // seconds, since it was first looked at
	Memory  int64   // bytes now, of which shared ones count once
	Read    int64   // bytes from disk
	Written int64   // bytes to disk
}

// account adds up what a process and its children use, those that have ended included.
type account struct {
	pid  func(context.Context) int
	root int
	seen map[int32]Usage // by process, the last that was seen
	base map[int32]Usage // what it had used when it was first seen, for those older than the account
}

func newAccount(pid func(context.Context) int) *account {
	return &account{pid: pid, seen: map[int32]Usage{}, base: map[int32]Usage{}}
}

func (a *account) read(ctx context.Context) (u Usage) {
	if a.root == 0 || !alive(a.root) {
		a.root = a.pid(ctx)
	}
	if a.root != 0 {
		a.look(ctx, &u)
	}
	for pid, last := range a.seen {
		first := a.base[pid]
		u.CPU += last.CPU - first.CPU
		u.Read += last.Read - first.Read
		u.Written += last.Written - first.Written
	}
	return u
}

func (a *account) look(ctx context.Context, u *Usage) {
	p, err := process.NewProcessWithContext(ctx, int32(a.root))
	if err != nil {
		return
	}
	processes := append([]*process.Process{p}, children(ctx, p)...)
	first := len(a.seen) == 0
	shared := int64(0)
	for _, p := range processes {
		now := Usage{}
		if t, err := p.TimesWithContext(ctx); err == nil {
			now.CPU = t.User + t.System
		}
		if io, err := p.IOCountersWithContext(ctx); err == nil {
			now.Read, now.Written = int64(io.DiskReadBytes), int64(io.DiskWriteBytes)
		}
		if now.CPU == 0 && a.seen[p.Pid].CPU > 0 {
			continue // it has just ended
		}
		if _, known := a.seen[p.Pid]; !known && first {
			a.base[p.Pid] = now
		}
		a.seen[p.Pid] = now
		all, common := memory(ctx, p)
		u.Memory += all - common
		shared = max(shared, common)
	}
	u.Memory += shared
}

// children are those of a process. Linux lists them with each thread that made some; where it
// does not, all processes of the machine are looked through, which takes 2% of two cores
// when it is done once a second for each service.
func children(ctx context.Context, p *process.Process) (out []*process.Process) {
	lists, _ := filepath.Glob("/proc/" + strconv.Itoa(int(p.Pid)) + "/task/*/children")
	if len(lists) == 0 {
		out, _ = p.ChildrenWithContext(ctx)
		return out
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.ParseInt(field, 10, 32); err == nil {
				out = append(out, &process.Process{Pid: int32(pid)})
			}
		}
	}
	return out
}

// memory is what a process has resident, and how much of that it may share.
func memory(ctx context.Context, p *process.Process) (all, shared int64) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(int(p.Pid)) + "/statm")
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 2 {
		resident, _ := strconv.ParseInt(fields[1], 10, 64)
		common, _ := strconv.ParseInt(fields[2], 10, 64)
		page := int64(os.Getpagesize())
		return resident * page, common * page
	}
	if m, err := p.MemoryInfoWithContext(ctx); err == nil {
		all = int64(m.RSS)
	}
	return all, 0
}

func alive(pid int) bool {
	exists, err := process.PidExists(int32(pid))
	return err == nil && exists
}

// Peak is the most memory that a process had at a time, in bytes, and the CPU time that
// it has used, in seconds; zeros where there is no /proc.
func Peak(pid int) (memory int64, cpu float64) {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			memory = kib << 10
		}
	}
	if p, err := process.NewProcess(int32(pid)); err == nil {
		if t, err := p.Times(); err == nil {
			cpu = t.User + t.System
		}
	}
	return memory, cpu
}
