"""Every module has a test file at its own place in tests/, or a line here that says where it is tested."""

from pathlib import Path

ROOT = Path(__file__).parent
PACKAGE = ROOT.parent / "cofi_dist"

TESTED_IN = {
    "checkpoint/manifest.py": "checkpoint/test_hostile.py",
    "checkpoint/reader.py": "run/test_resume.py",
    "checkpoint/retention.py": "run/test_checkpointing.py",
    "checkpoint/writer.py": "run/test_checkpointing.py",
    "cli/checkpoints.py": "report/test_checkpoint_list.py",
    "cli/compare.py": "report/test_compare.py",
    "cli/config.py": "e2e/test_cli.py",
    "cli/data.py": "e2e/test_cli.py",
    "cli/evaluate.py": "e2e/test_model_commands.py",
    "cli/export.py": "e2e/test_model_commands.py",
    "cli/failures.py": "e2e/test_streams.py",
    "cli/main.py": "e2e/test_cli.py",
    "cli/plot.py": "e2e/test_report_commands.py",
    "cli/predict.py": "e2e/test_model_commands.py",
    "cli/prepare.py": "e2e/test_prepare.py",
    "cli/recommend.py": "e2e/test_model_commands.py",
    "cli/report.py": "e2e/test_report_commands.py",
    "cli/report_files.py": "e2e/test_report_commands.py",
    "cli/session.py": "e2e/test_torchrun.py",
    "cli/similar.py": "e2e/test_model_commands.py",
    "cli/slurm.py": "slurm/test_check.py",
    "cli/tables.py": "e2e/test_streams.py",
    "cli/train.py": "e2e/test_start.py",
    "cli/tune.py": "run/test_tune.py",
    "config/data_section.py": "config/test_load.py",
    "config/schema.py": "config/test_load.py",
    "config/train_section.py": "config/test_load.py",
    "config/section.py": "config/test_load.py",
    "cost/dense.py": "contracts/test_back_ends.py",
    "cost/sides.py": "contracts/test_back_ends.py",
    "cost/sparse.py": "contracts/test_back_ends.py",
    "cost/term.py": "contracts/test_back_ends.py",
    "data/datasets/partial_download.py": "data/datasets/test_download.py",
    "data/preparation/duplicates.py": "data/preparation/test_pipeline.py",
    "data/preparation/npy_file.py": "data/preparation/test_store.py",
    "data/preparation/split_checks.py": "data/preparation/test_pipeline.py",
    "data/preparation/spool.py": "data/preparation/test_pipeline.py",
    "data/preparation/writers.py": "data/preparation/test_pipeline.py",
    "data/ratings.py": "data/test_shard.py",
    "data/shards.py": "sharding/test_ranges.py",
    "data/readers/lines.py": "data/readers/test_layout.py",
    "data/readers/parquet.py": "data/readers/test_tables.py",
    "data/sources/base.py": "data/sources/test_open.py",
    "data/sources/population.py": "data/sources/test_synthetic.py",
    "distributed/waiting.py": "distributed/test_rendezvous.py",
    "errors.py": "distributed/test_messages.py",
    "files/directory_swap.py": "files/test_atomic.py",
    "files/temporaries.py": "files/test_atomic.py",
    "files/tensor_header.py": "files/test_tensor_file.py",
    "files/written_file.py": "test_file_faults.py",
    "kernels/base.py": "contracts/test_back_ends.py",
    "kernels/cpu/backend.py": "contracts/test_back_ends.py",
    "kernels/cpu/gram_rows.py": "kernels/test_gram.py",
    "kernels/cpu/jit.py": "kernels/cpu/test_compiled_cache.py",
    "kernels/cpu/parallel_loops.py": "contracts/test_back_ends.py",
    "kernels/cpu/rating_terms.py": "contracts/test_back_ends.py",
    "kernels/cpu/row_kernels.py": "contracts/test_back_ends.py",
    "kernels/cpu/simd.py": "kernels/cpu/test_compiled_bits.py",
    "kernels/cuda/backend.py": "contracts/test_back_ends.py",
    "kernels/cuda/graph.py": "gpu/test_cuda.py",
    "kernels/first_compilation.py": "kernels/cpu/test_compiled_cache.py",
    "kernels/rating_matrix.py": "contracts/test_back_ends.py",
    "kernels/torch_ops/backend.py": "contracts/test_back_ends.py",
    "optim/conjugate_gradient.py": "optim/test_als.py",
    "ranking/pairs.py": "ranking/test_metrics.py",
    "ranking/scores.py": "model/test_scoring.py",
    "run/log_files.py": "run/test_log.py",
    "run/outcome.py": "e2e/test_start.py",
    "run/process_identity.py": "run/test_lock.py",
    "run/requirements.py": "e2e/test_start.py",
    "run/shard_table.py": "e2e/test_cli.py",
    "run/start.py": "e2e/test_start.py",
    "run/train.py": "parity/test_ranks.py",
    "run_layout.py": "run/test_directory.py",
    "run_result.py": "report/test_run_files.py",
    "slurm/render.py": "slurm/test_templates.py",
    "slurm/sbatch.py": "slurm/test_check.py",
    "system/hardware.py": "run/test_resume.py",
}


def test_every_module_is_tested_somewhere() -> None:
    modules = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if not path.name.startswith("__")}
    elsewhere = {str(path) for path in modules if not (ROOT / path.parent / f"test_{path.name}").exists()}
    assert elsewhere == set(TESTED_IN)


def test_the_files_exist() -> None:
    assert not [path for path in TESTED_IN.values() if not (ROOT / path).exists()]
