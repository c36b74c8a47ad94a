"""The published list of what a pickle may name and still be loaded without a question (docs/formats/sklearn.md).

A name is here only if a pickle cannot make it run code, import by a name that the pickle gives, or open a file, however
it is called and whatever state it is given. That leaves out what looks harmless: ``numpy.core._ufunc_reconstruct``
(imports anything), ``scipy.stats`` (its __setstate__ runs source text from the state), ``joblib.memory`` and old
``joblib`` arrays (read other files), ``collections.namedtuple`` and ``builtins.type`` (make classes),
``builtins.getattr`` and ``operator.attrgetter`` (reach everything). Everything is loaded in the worker even so.
"""

from __future__ import annotations

import re

_EXACT: dict[str, str] = {
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple",
    "__builtin__": "bool bytearray complex dict float frozenset int list object set slice str tuple unicode xrange",
    "_codecs": "encode",  # how protocol 2 writes bytes
    "collections": "Counter OrderedDict defaultdict deque",
    "copy_reg": "_reconstructor __newobj__",
    "copyreg": "_reconstructor __newobj__ __newobj_ex__",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "functools": "partial",
    "uuid": "UUID",
    "joblib.numpy_pickle": "NumpyArrayWrapper",
    "numpy": (
        "dtype ndarray matrix bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 "
        "complex64 complex128 str_ bytes_ object_ datetime64 timedelta64 void longdouble "
        "abs absolute arccos arcsin arctan arctanh cbrt ceil clip cos cosh exp expm1 fabs floor isfinite isnan log "
        "log10 log1p log2 max maximum mean median min minimum nan_to_num negative ravel reciprocal rint round sign sin "
        "sinh sqrt square std sum tan tanh var"
    ),
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "MaskedArray MaskedConstant _mareconstruct",
    "numpy.matrixlib.defmatrix": "matrix",
    "numpy.random": "__RandomState_ctor",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random._philox": "Philox",
    "numpy.random._sfc64": "SFC64",
    "numpy.random._generator": "Generator",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "numpy.random.mtrand": "RandomState",
    "scipy.interpolate._bsplines": "BSpline",
    "scipy.interpolate._interpolate": "interp1d",
    "scipy.interpolate.interpolate": "interp1d",
    "scipy.special._ufuncs": "expit logit",
    "scipy._lib.array_api_compat.numpy._aliases": "asarray",
    "scipy.spatial._ckdtree": "cKDTree",
    "scipy.spatial._kdtree": "KDTree",
    **{
        f"scipy.sparse.{module}": f"{names}_matrix {names}_array"
        for names in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")
        for module in (names, f"_{names}")
    },
    "pandas._libs.arrays": "__pyx_unpickle_NDArrayBacked",
    "pandas._libs.internals": "BlockManager _unpickle_block",
    "pandas.core.arrays.categorical": "Categorical",
    "pandas.core.arrays.string_": "StringArray StringDtype",
    "pandas.core.dtypes.dtypes": "CategoricalDtype",
    "pandas.core.frame": "DataFrame",
    "pandas.core.indexes.base": "Index _new_Index",
    "pandas.core.indexes.category": "CategoricalIndex",
    "pandas.core.indexes.range": "RangeIndex",
    "pandas.core.internals.managers": "BlockManager SingleBlockManager",
    "pandas.core.series": "Series",
    "xgboost.core": "Booster",
    "xgboost.sklearn": "XGBClassifier XGBRegressor XGBRanker XGBRFClassifier XGBRFRegressor",
    "lightgbm.basic": "Booster",
    "lightgbm.sklearn": "LGBMClassifier LGBMRegressor LGBMRanker",
    "catboost.core": "CatBoostClassifier CatBoostRegressor CatBoostRanker",
    "sklearn._loss._loss": "__pyx_unpickle_CyHalfMultinomialLoss __pyx_unpickle_CyLossFunction",
    "sklearn.cluster._kmeans": "_kmeans_single_lloyd _kmeans_single_elkan lloyd_iter_chunked_dense",
    "sklearn.feature_selection._univariate_selection": "chi2 f_classif f_oneway f_regression r_regression",
    "sklearn.feature_selection._mutual_info": "mutual_info_classif mutual_info_regression",
    "sklearn.metrics._classification": (
        "accuracy_score balanced_accuracy_score cohen_kappa_score f1_score fbeta_score hamming_loss jaccard_score "
        "log_loss matthews_corrcoef precision_score recall_score zero_one_loss brier_score_loss"
    ),
    "sklearn.metrics._ranking": "average_precision_score roc_auc_score top_k_accuracy_score",
    "sklearn.metrics._regression": (
        "explained_variance_score max_error mean_absolute_error mean_absolute_percentage_error mean_squared_error "
        "mean_squared_log_error median_absolute_error r2_score root_mean_squared_error mean_poisson_deviance"
    ),
    "sklearn.metrics._dist_metrics": "newObj",
    "sklearn.neighbors._dist_metrics": "newObj",
    "sklearn.neighbors._kd_tree": "newObj",
    "sklearn.neighbors._ball_tree": "newObj",
    "sklearn.metrics.pairwise": "cosine_similarity linear_kernel polynomial_kernel rbf_kernel sigmoid_kernel",
}
"""By module. numpy._core and numpy.core are one."""

_ESTIMATORS = """
    ARDRegression AdaBoostClassifier AdaBoostRegressor AdditiveChi2Sampler AffinityPropagation
    AgglomerativeClustering BaggingClassifier BaggingRegressor BayesianGaussianMixture BayesianRidge BernoulliNB
    BernoulliRBM Binarizer Birch BisectingKMeans CCA CalibratedClassifierCV CategoricalNB ClassicalMDS
    ClassifierChain ColumnTransformer ComplementNB CountVectorizer DBSCAN DecisionTreeClassifier
    DecisionTreeRegressor DictVectorizer DictionaryLearning DummyClassifier DummyRegressor ElasticNet
    ElasticNetCV EllipticEnvelope EmpiricalCovariance ExtraTreeClassifier ExtraTreeRegressor
    ExtraTreesClassifier ExtraTreesRegressor FactorAnalysis FastICA FeatureAgglomeration FeatureHasher
    FeatureUnion FixedThresholdClassifier FrozenEstimator FunctionTransformer GammaRegressor GaussianMixture
    GaussianNB GaussianProcessClassifier GaussianProcessRegressor GaussianRandomProjection
    GenericUnivariateSelect GradientBoostingClassifier GradientBoostingRegressor GraphicalLasso GraphicalLassoCV
    GridSearchCV HDBSCAN HashingVectorizer HistGradientBoostingClassifier HistGradientBoostingRegressor
    HuberRegressor Imputer IncrementalPCA IsolationForest Isomap IsotonicRegression KBinsDiscretizer KMeans
    KNNImputer KNeighborsClassifier KNeighborsRegressor KNeighborsTransformer KernelCenterer KernelDensity
    KernelPCA KernelRidge LabelBinarizer LabelEncoder LabelPropagation LabelSpreading Lars LarsCV Lasso LassoCV
    LassoLars LassoLarsCV LassoLarsIC LatentDirichletAllocation LedoitWolf LinearDiscriminantAnalysis
    LinearRegression LinearSVC LinearSVR LocalOutlierFactor LocallyLinearEmbedding LogisticRegression
    LogisticRegressionCV MDS MLPClassifier MLPRegressor MaxAbsScaler MeanShift MinCovDet MinMaxScaler
    MiniBatchDictionaryLearning MiniBatchKMeans MiniBatchNMF MiniBatchSparsePCA MissingIndicator
    MultiLabelBinarizer MultiOutputClassifier MultiOutputRegressor MultiTaskElasticNet MultiTaskElasticNetCV
    MultiTaskLasso MultiTaskLassoCV MultinomialNB NMF NearestCentroid NearestNeighbors
    NeighborhoodComponentsAnalysis Normalizer NuSVC NuSVR Nystroem OAS OPTICS OneClassSVM OneHotEncoder
    OneVsOneClassifier OneVsRestClassifier OrdinalEncoder OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV
    OutputCodeClassifier PCA PLSCanonical PLSRegression PLSSVD PassiveAggressiveClassifier
    PassiveAggressiveRegressor PatchExtractor Perceptron Pipeline PoissonRegressor PolynomialCountSketch
    PolynomialFeatures PowerTransformer QuadraticDiscriminantAnalysis QuantileRegressor QuantileTransformer
    RANSACRegressor RBFSampler RFE RFECV RadiusNeighborsClassifier RadiusNeighborsRegressor
    RadiusNeighborsTransformer RandomForestClassifier RandomForestRegressor RandomTreesEmbedding
    RandomizedSearchCV RegressorChain Ridge RidgeCV RidgeClassifier RidgeClassifierCV RobustScaler SGDClassifier
    SGDOneClassSVM SGDRegressor SVC SVR SelectFdr SelectFpr SelectFromModel SelectFwe SelectKBest
    SelectPercentile SelfTrainingClassifier SequentialFeatureSelector ShrunkCovariance SimpleImputer
    SkewedChi2Sampler SparseCoder SparsePCA SparseRandomProjection SpectralBiclustering SpectralClustering
    SpectralCoclustering SpectralEmbedding SplineTransformer StackingClassifier StackingRegressor StandardScaler
    TSNE TargetEncoder TfidfTransformer TfidfVectorizer TheilSenRegressor TransformedTargetRegressor
    TruncatedSVD TunedThresholdClassifierCV TweedieRegressor VarianceThreshold VotingClassifier VotingRegressor
"""
"""Every estimator of scikit-learn 1.9, wherever a version of scikit-learn keeps it."""

_PARTS = """
    AbsoluteError AdamOptimizer BallTree BallTree32 BallTree64 BinaryCrossEntropy BinomialDeviance Bunch
    CategoricalCrossEntropy ChebyshevDistance ChebyshevDistance32 ChebyshevDistance64 CompoundKernel
    ConstantKernel CyAbsoluteError CyExponentialLoss CyHalfBinomialLoss CyHalfGammaLoss CyHalfMultinomialLoss
    CyHalfPoissonLoss CyHalfSquaredError CyHalfTweedieLoss CyHalfTweedieLossIdentity CyHuberLoss CyPinballLoss
    DotProduct EpsilonInsensitive EuclideanDistance EuclideanDistance32 EuclideanDistance64 ExpSineSquared
    ExponentialLoss Exponentiation GroupKFold GroupShuffleSplit HalfBinomialLoss HalfGammaLoss HalfLogitLink
    HalfMultinomialLoss HalfPoissonLoss HalfSquaredError HalfTweedieLoss HalfTweedieLossIdentity HammingDistance
    HammingDistance32 HammingDistance64 HaversineDistance HaversineDistance32 HaversineDistance64 Hinge Huber
    HuberLoss HuberLossFunction Hyperparameter IdentityLink Interval KDTree KDTree32 KDTree64 KFold
    LeastAbsoluteError LeastSquares LeastSquaresError LeaveOneGroupOut LeaveOneOut LeavePOut Log LogLink
    LogOddsEstimator LogitLink ManhattanDistance ManhattanDistance32 ManhattanDistance64 Matern MeanEstimator
    MinkowskiDistance MinkowskiDistance32 MinkowskiDistance64 ModifiedHuber MultinomialDeviance MultinomialLogit
    PairwiseKernel PinballLoss Poisson PredefinedSplit PriorProbabilityEstimator Product QuantileEstimator
    QuantileLossFunction RBF RationalQuadratic RepeatedKFold RepeatedStratifiedKFold SGDOptimizer
    ScaledLogOddsEstimator ShuffleSplit SquaredEpsilonInsensitive SquaredHinge SquaredLoss StratifiedGroupKFold
    StratifiedKFold StratifiedShuffleSplit Sum TimeSeriesSplit Tree TreePredictor WhiteKernel ZeroEstimator
    _BinMapper _BinaryGaussianProcessClassifierLaplace _BisectingTree _CFNode _CFSubcluster _CVIterableWrapper
    _CalibratedClassifier _ConstantPredictor _MultimetricScorer _PassthroughScorer _PredictScorer _ProbaScorer
    _RemainderColsList _Scorer _SigmoidCalibration _TemperatureScaling _ThresholdScorer make_column_selector
"""
"""What fitted estimators are made of: trees, losses, links, kernels, distances, splitters."""

_ALLOWED = frozenset(f"{module}.{name}" for module, names in _EXACT.items() for name in names.split())
_SKLEARN = frozenset(_ESTIMATORS.split()) | frozenset(_PARTS.split())
_SKLEARN_MODULE = re.compile(r"sklearn(\.[a-z_0-9]+){1,4}")
_NOT_MODELS = frozenset({"tests", "externals", "datasets", "conftest", "inspection", "_testing", "_build_utils"})


def is_allowed(name: str) -> bool:
    """Whether a pickle that names only such callables is loaded without a question."""
    module, _, last = name.rpartition(".")
    if name.replace("numpy._core.", "numpy.core.", 1) in _ALLOWED:
        return True
    if last not in _SKLEARN or not _SKLEARN_MODULE.fullmatch(module):
        return False
    return not _NOT_MODELS.intersection(module.split("."))


def not_allowed(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of ``names`` that are not on the list, in their order."""
    return tuple(name for name in names if not is_allowed(name))
