package report

import (
	"runtime"
	"runtime/debug"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/mem"
)

// Machine is where the figures were measured. What the system does not tell is empty.
type Machine struct {
	CPUs        int    `json:"cpus"`
	CPU         string `json:"cpu"`
	MemoryBytes uint64 `json:"memory_bytes"`
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	Kernel      string `json:"kernel"`
}

// Versions are of what was measured.
type Versions struct {
	Go          string `json:"go"`
	Weir        string `json:"weir"` // the commit, when the build knows it
	Redis       string `json:"redis"`
	PostgreSQL  string `json:"postgresql"`
	TimescaleDB string `json:"timescaledb"` // with its edition
}

func thisMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, err := cpu.Info(); err == nil && len(info) > 0 {
		m.CPU = info[0].ModelName
	}
	if memory, err := mem.VirtualMemory(); err == nil {
		m.MemoryBytes = memory.Total
	}
	m.Kernel, _ = host.KernelVersion()
	return m
}

// Built fills in what this program knows of itself.
func (v *Versions) Built() {
	v.Go = runtime.Version()
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Weir = s.Value + v.Weir
		case s.Key == "vcs.modified" && s.Value == "true":
			v.Weir += " with changes"
		}
	}
}
