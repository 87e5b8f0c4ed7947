// Package kubernetes tries out the manifests of this folder.
package kubernetes

import (
	"os"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// rendered is what an overlay makes, as the types of Kubernetes.
type rendered struct {
	deployment appsv1.Deployment
	job        batchv1.Job
	service    corev1.Service
	disruption policyv1.PodDisruptionBudget
	network    networkingv1.NetworkPolicy
	configs    map[string]map[string]string // the data of each ConfigMap, by its name
}

// render fails on whatever the API server would drop without a word: a field that a type lacks.
func render(t *testing.T, dir string) (r rendered) {
	t.Helper()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	r.configs = map[string]map[string]string{}
	for _, resource := range made.Resources() {
		var config corev1.ConfigMap
		into := map[string]any{
			"Deployment": &r.deployment, "Job": &r.job, "Service": &r.service, "ConfigMap": &config,
			"PodDisruptionBudget": &r.disruption, "NetworkPolicy": &r.network,
		}[resource.GetKind()]
		if into == nil {
			if resource.GetKind() != "Cluster" { // of CloudNativePG
				t.Errorf("%s: nobody looks at a %s", dir, resource.GetKind())
			}
			continue
		}
		text, err := resource.AsYAML()
		if err == nil {
			err = yaml.UnmarshalStrict(text, into)
		}
		if err != nil {
			t.Errorf("%s: %s: %v", dir, resource.CurId(), err)
		}
		if resource.GetKind() == "ConfigMap" {
			r.configs[config.Name] = config.Data
		}
	}
	return r
}

func overlays(t *testing.T) map[string]rendered {
	t.Helper()
	all := map[string]rendered{}
	entries, err := os.ReadDir("overlays")
	if err != nil || len(entries) != 2 {
		t.Fatal(entries, err)
	}
	for _, entry := range entries {
		all[entry.Name()] = render(t, "overlays/"+entry.Name())
	}
	return all
}

// A namespace that enforces the profile "restricted" would refuse the pods.
func TestThePodsAreLetInByTheRestrictedProfile(t *testing.T) {
	t.Parallel()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for name, r := range overlays(t) {
		for _, pod := range []corev1.PodTemplateSpec{r.deployment.Spec.Template, r.job.Spec.Template} {
			for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
				if !result.Allowed {
					t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
			if on := pod.Spec.AutomountServiceAccountToken; on == nil || *on {
				t.Errorf("%s: a pod gets a token for the API server, which it does not need", name)
			}
		}
	}
}

// A variable that is no setting is ignored, and a volume that is not there keeps the pod from
// starting.
func TestThePodsHaveSettingsThatThereAreAndVolumesThatTheyMount(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]bool{"GOMEMLIMIT": true, "SERVICE_ROLE": true}
	for _, name := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)`").FindAllStringSubmatch(string(page), -1) {
		settings[name[1]], settings[name[1]+"_FILE"] = true, true
	}
	for name, r := range overlays(t) {
		for _, pod := range []corev1.PodSpec{r.deployment.Spec.Template.Spec, r.job.Spec.Template.Spec} {
			container, env := pod.Containers[0], map[string]string{}
			for _, from := range container.EnvFrom {
				data, ok := r.configs[from.ConfigMapRef.Name]
				if !ok {
					t.Errorf("%s: there is no ConfigMap %s", name, from.ConfigMapRef.Name)
				}
				for key, value := range data {
					env[key] = value
				}
			}
			for _, one := range container.Env {
				env[one.Name] = one.Value
			}
			mounts := map[string]string{}
			for _, mount := range container.VolumeMounts {
				mounts[mount.Name] = mount.MountPath
			}
			for _, volume := range pod.Volumes {
				if mounts[volume.Name] == "" {
					t.Errorf("%s: nobody mounts %s", name, volume.Name)
				}
				delete(mounts, volume.Name)
			}
			for missing := range mounts {
				t.Errorf("%s: there is no volume %s", name, missing)
			}
			for key, value := range env {
				if !settings[key] {
					t.Errorf("%s: %s is no setting", name, key)
				}
				if strings.HasSuffix(key, "_FILE") && !underAMount(container, value) {
					t.Errorf("%s: %s is %s, which nothing mounts", name, key, value)
				}
			}
			if env["DATABASE_URL"]+env["DATABASE_URL_FILE"] == "" {
				t.Errorf("%s: %s has no database", name, container.Name)
			}
		}
	}
}

func underAMount(container corev1.Container, path string) bool {
	for _, mount := range container.VolumeMounts {
		if strings.HasPrefix(path, mount.MountPath+"/") {
			return true
		}
	}
	return false
}

// A selector that matches no pod protects nothing, and leads to nobody.
func TestEverySelectorMatchesThePodsThatItIsFor(t *testing.T) {
	t.Parallel()
	for name, r := range overlays(t) {
		server, migrate := r.deployment.Spec.Template.Labels, r.job.Spec.Template.Labels
		for what, selector := range map[string]*metav1.LabelSelector{
			"Deployment": r.deployment.Spec.Selector, "PodDisruptionBudget": r.disruption.Spec.Selector,
			"Service": {MatchLabels: r.service.Spec.Selector},
		} {
			matches, err := metav1.LabelSelectorAsSelector(selector)
			if err != nil || !matches.Matches(labels.Set(server)) || matches.Matches(labels.Set(migrate)) {
				t.Errorf("%s: the %s selects %v, %v", name, what, selector, err)
			}
		}
		all, err := metav1.LabelSelectorAsSelector(&r.network.Spec.PodSelector)
		if err != nil || !all.Matches(labels.Set(server)) || !all.Matches(labels.Set(migrate)) {
			t.Errorf("%s: the NetworkPolicy is not for all pods: %v", name, err)
		}
		if grace := *r.deployment.Spec.Template.Spec.TerminationGracePeriodSeconds; grace < 25 {
			t.Errorf("%s: a pod that drains is killed after %d seconds", name, grace)
		}
	}
}
