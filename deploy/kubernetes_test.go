package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	yamlv3 "go.yaml.in/yaml/v3"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// scaledObject has the fields of KEDA's ScaledObject that are used here: its own types
// would bring half of Kubernetes into go.mod.
type scaledObject struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		ScaleTargetRef struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"scaleTargetRef"`
		MinReplicaCount int32 `json:"minReplicaCount"`
		MaxReplicaCount int32 `json:"maxReplicaCount"`
		PollingInterval int32 `json:"pollingInterval"`
		CooldownPeriod  int32 `json:"cooldownPeriod"`
		Advanced        struct {
			HorizontalPodAutoscalerConfig struct {
				Behavior autoscaling.HorizontalPodAutoscalerBehavior `json:"behavior"`
			} `json:"horizontalPodAutoscalerConfig"`
		} `json:"advanced"`
		Triggers []struct {
			Type     string `json:"type"`
			Metadata struct {
				ServerAddress    string `json:"serverAddress"`
				Query            string `json:"query"`
				Threshold        string `json:"threshold"`
				IgnoreNullValues string `json:"ignoreNullValues"`
			} `json:"metadata"`
		} `json:"triggers"`
		Fallback struct {
			FailureThreshold int32 `json:"failureThreshold"`
			Replicas         int32 `json:"replicas"`
		} `json:"fallback"`
	} `json:"spec"`
}

// manifest is one object with the type that it must have.
type manifest struct {
	file, kind string
	object     any
}

// manifests reads every object strictly: a field that the API does not know is a fault.
func manifests(t *testing.T) (all []manifest) {
	t.Helper()
	files, err := filepath.Glob("kubernetes/*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		documents := yamlv3.NewDecoder(bytes.NewReader(text))
		for {
			var node yamlv3.Node
			if err := documents.Decode(&node); errors.Is(err, io.EOF) {
				break
			} else {
				require.NoError(t, err, file)
			}
			one, err := yamlv3.Marshal(&node)
			require.NoError(t, err)
			var head struct{ APIVersion, Kind string }
			require.NoError(t, yaml.Unmarshal(one, &head), file)
			object := map[string]any{
				"v1 Namespace": &core.Namespace{}, "v1 ConfigMap": &core.ConfigMap{}, "v1 Secret": &core.Secret{}, "v1 Service": &core.Service{},
				"apps/v1 Deployment": &apps.Deployment{}, "apps/v1 StatefulSet": &apps.StatefulSet{}, "batch/v1 Job": &batch.Job{},
				"policy/v1 PodDisruptionBudget":          &policy.PodDisruptionBudget{},
				"autoscaling/v2 HorizontalPodAutoscaler": &autoscaling.HorizontalPodAutoscaler{},
				"keda.sh/v1alpha1 ScaledObject":          &scaledObject{},
			}[head.APIVersion+" "+head.Kind]
			require.NotNil(t, object, "%s: nobody checks %s %s", file, head.APIVersion, head.Kind)
			require.NoError(t, yaml.UnmarshalStrict(one, object), "%s: %s", file, head.Kind)
			all = append(all, manifest{file, head.Kind, object})
		}
	}
	return all
}

func TestKubernetesKnowsEveryFieldOfTheManifests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("kubernetes/kustomization.yaml")
	require.NoError(t, err)
	for _, m := range manifests(t) {
		if m.kind != "Secret" {
			require.Contains(t, string(text), "- "+filepath.Base(m.file)+"\n")
		}
	}
}

// TestImagesAreThoseThatAReleasePushes: a bare name would be one of Docker Hub's.
func TestImagesAreThoseThatAReleasePushes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("kubernetes/kustomization.yaml")
	require.NoError(t, err)
	var kustomization struct {
		Images []struct{ Name, NewName, NewTag string }
	}
	require.NoError(t, yaml.Unmarshal(text, &kustomization))
	release, err := os.ReadFile("../.github/workflows/release.yml")
	require.NoError(t, err)
	require.Contains(t, string(release), "tags: ghcr.io/${{ steps.names.outputs.owner }}/weir-${{ matrix.target }}:${{ github.ref_name }}\n")
	var targets []string
	for _, i := range kustomization.Images {
		require.Equal(t, "ghcr.io/OWNER/"+i.Name, i.NewName)
		require.Regexp(t, `^v\d`, i.NewTag, "releases are of tags that begin so")
		targets = append(targets, strings.TrimPrefix(i.Name, "weir-"))
	}
	require.Contains(t, string(release), "target: ["+strings.Join(targets, ", ")+"]\n")
	for _, m := range manifests(t) {
		var pod core.PodSpec
		switch o := m.object.(type) {
		case *apps.Deployment:
			pod = o.Spec.Template.Spec
		case *apps.StatefulSet:
			pod = o.Spec.Template.Spec
		case *batch.Job:
			pod = o.Spec.Template.Spec
		}
		for _, c := range pod.Containers {
			require.Contains(t, targets, strings.TrimPrefix(c.Image, "weir-"), m.file)
		}
	}
}

// TestPodsHaveProbesLimitsAndNoPrivileges holds the pods to the restricted profile that
// the namespace enforces, and to what a rolling update needs.
func TestPodsHaveProbesLimitsAndNoPrivileges(t *testing.T) {
	t.Parallel()
	services := 0
	for _, m := range manifests(t) {
		var pod core.PodSpec
		switch o := m.object.(type) {
		case *apps.Deployment:
			pod = o.Spec.Template.Spec
			require.Equal(t, o.Spec.Selector.MatchLabels, o.Spec.Template.Labels)
		case *apps.StatefulSet:
			pod = o.Spec.Template.Spec
			require.Equal(t, o.Spec.Selector.MatchLabels, o.Spec.Template.Labels)
		case *batch.Job:
			pod = o.Spec.Template.Spec
		default:
			continue
		}
		c := pod.Containers[0]
		require.True(t, *pod.SecurityContext.RunAsNonRoot, m.file)
		require.Equal(t, core.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type, m.file)
		require.False(t, *pod.AutomountServiceAccountToken, m.file)
		require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, m.file)
		require.False(t, *c.SecurityContext.AllowPrivilegeEscalation, m.file)
		require.Equal(t, []core.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop, m.file)
		require.False(t, c.Resources.Limits.Memory().IsZero(), m.file)
		require.False(t, c.Resources.Requests.Cpu().IsZero(), m.file)
		if m.kind == "Job" {
			continue
		}
		services++
		require.Equal(t, "/healthz", c.LivenessProbe.HTTPGet.Path, m.file)
		require.Equal(t, "/healthz", c.StartupProbe.HTTPGet.Path, m.file)
		require.Equal(t, "/readyz", c.ReadinessProbe.HTTPGet.Path, m.file)
		require.Greater(t, *pod.TerminationGracePeriodSeconds, int64(15), m.file) // SHUTDOWN_GRACE
	}
	require.Equal(t, 3, services)
}

func TestEveryServiceHasADisruptionBudgetAndAScaler(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for _, m := range manifests(t) {
		switch o := m.object.(type) {
		case *policy.PodDisruptionBudget:
			found["budget "+o.Spec.Selector.MatchLabels["app.kubernetes.io/name"]] = true
		case *autoscaling.HorizontalPodAutoscaler:
			found["scaler "+o.Spec.ScaleTargetRef.Name] = true
		case *scaledObject:
			found["scaler "+o.Spec.ScaleTargetRef.Name] = true
			require.Equal(t, "StatefulSet", o.Spec.ScaleTargetRef.Kind)
		}
	}
	for _, name := range []string{"weir-ingestion", "weir-consumer", "weir-api"} {
		require.True(t, found["budget "+name], name)
		require.True(t, found["scaler "+name], name)
	}
}

// keysSecret holds files, and no settings.
const keysSecret = "weir-keys"

// TestEachPodHasOwnRoleAndTheKeysThatItReads: no service knows another's password, nor
// keys that it does not ask for.
func TestEachPodHasOwnRoleAndTheKeysThatItReads(t *testing.T) {
	t.Parallel()
	files, secrets := map[string]string{}, map[string]map[string]string{}
	pods := map[string]core.PodSpec{}
	for _, m := range manifests(t) {
		switch o := m.object.(type) {
		case *core.ConfigMap:
			files = o.Data
		case *core.Secret:
			secrets[o.Name] = o.StringData
		case *apps.Deployment:
			pods[o.Name] = o.Spec.Template.Spec
		case *apps.StatefulSet:
			pods[o.Name] = o.Spec.Template.Spec
		}
	}
	for name, want := range map[string][]string{
		"weir-ingestion": {"INGESTION_WRITE_KEYS_FILE", "ADMIN_KEYS_FILE"}, "weir-consumer": {"ADMIN_KEYS_FILE"}, "weir-api": {"API_READ_KEYS_FILE"},
	} {
		pod := pods[name]
		require.Equal(t, keysSecret, pod.Volumes[0].Secret.SecretName, name)
		var mounted []string
		for _, item := range pod.Volumes[0].Secret.Items {
			require.NotEmpty(t, secrets[keysSecret][item.Key], name)
			mounted = append(mounted, pod.Containers[0].VolumeMounts[0].MountPath+"/"+item.Path)
		}
		var paths []string
		for _, setting := range want {
			paths = append(paths, files[setting])
		}
		require.ElementsMatch(t, paths, mounted, name)
		var from []string
		for _, e := range pod.Containers[0].EnvFrom {
			if e.SecretRef != nil {
				from = append(from, e.SecretRef.Name)
			}
		}
		if name == "weir-ingestion" { // which has no database
			require.Equal(t, []string{"weir"}, from)
			continue
		}
		require.Equal(t, []string{"weir", name}, from)
		require.Contains(t, secrets[name]["POSTGRES_URL"], "://"+strings.ReplaceAll(name, "-", "_")+":")
	}
}

func TestKubernetesSettingsExist(t *testing.T) {
	t.Parallel()
	known := settings("")
	for _, m := range manifests(t) {
		given := map[string]string{}
		switch o := m.object.(type) {
		case *core.ConfigMap:
			given = o.Data
		case *core.Secret:
			if o.Name != keysSecret {
				given = o.StringData
			}
		}
		for name := range given {
			require.True(t, known[name], "%s: no service reads %s", strings.TrimSpace(m.file), name)
		}
	}
}
